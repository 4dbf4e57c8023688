/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dns - the resolver that captured port 53 of pods comes to: names of mesh services are answered,
 * all else goes byte for byte to the nameserver that the pod asked. Thread: the main loop. Bounded:
 * queries in flight per pod and in all, their bytes (1 MB of a pod, 16 MB and 64 KB of each pod in
 * all), TCP clients. What comes beyond that, or when memory is short, hears SERVFAIL. */
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/macros.h"
#include "culvert/zds.h"

struct buf;
struct dns; /* opaque */
struct loop;
struct state;

struct dns_config {
	struct loop *loop; /* borrowed */
	/**
	 * need_sockets() - ask the agent for unconnected sockets of this pod (ZDS_NEED); they come
	 * by dns_sockets_give()
	 * @kind:   CV_SOCKET_DNS (UDP) or CV_SOCKET_DIAL_PLAIN (TCP, for queries over TCP).
	 * @family: enum zds_family.
	 */
	void (*need_sockets)(void *arg, uint64_t netns_cookie, uint32_t kind, uint32_t family,
			     uint32_t count);
	void *arg;
};

/** dns_new() - Return: 0; -ENOMEM. */
_must_check_ int dns_new(const struct dns_config *config, struct dns **ret);
struct dns *dns_free(struct dns *d);
DEFINE_CLEANUP(struct dns *, dns_free);

/** dns_set_cluster_domain() - what Services' names end with. @domain: NULL, "", or none that a name
 * can end with: "cluster.local", as before the first call; copied. */
void dns_set_cluster_domain(struct dns *d, const char *domain);
/** dns_set_state() - answer from this snapshot from now on; counted. */
void dns_set_state(struct dns *d, struct state *s);

/**
 * dns_pod_add() - serve a pod; where this cookie is served already, at these listeners instead:
 * those of before are left as by dns_pod_leave()
 * @udp_fds: its CV_DNS_PORTS UDP listeners; @tcp_fd: its TCP listener. Taken, on failure too.
 * Return: 0; -ENOMEM; -errno of epoll_ctl.
 */
_must_check_ int dns_pod_add(struct dns *d, uint64_t netns_cookie, const struct zds_pod_add *pod,
			     const int *udp_fds, int tcp_fd);

/** dns_pod_del() - stop serving; queries in flight hear SERVFAIL. Unknown cookies are ignored. */
void dns_pod_del(struct dns *d, uint64_t netns_cookie);
/** dns_pod_leave() - the same 5 s later: until then what is in flight is answered, and what still
 * comes, as far as there are sockets for it. Unknown cookies are ignored. */
void dns_pod_leave(struct dns *d, uint64_t netns_cookie);
/** dns_is_idle() - is no query of any pod in flight? */
bool dns_is_idle(const struct dns *d);

/** dns_nameserver() - what a number (IPv4) or a pod's slot (IPv6) stands for. */
void dns_nameserver(struct dns *d, const struct zds_nameserver *ns);

/** dns_sockets_give() - answer to need_sockets(); @fds are taken. Those of unknown pods are closed.
 */
void dns_sockets_give(struct dns *d, uint64_t netns_cookie, uint32_t kind, uint32_t family,
		      const int *fds, size_t count);

/** struct dns_ask - one question for the addresses of a host; embedded. */
struct dns_ask {
	struct list link;
	char host[256];
	/**
	 * on_answer() - once, perhaps before dns_resolve() returns
	 * @error: 0; -ENOENT there is no such name, or it has no address; -ETIMEDOUT; -ENETDOWN no
	 * nameserver is known; -EIO the nameservers failed; -ECANCELED the pod is gone; -ENOSPC.
	 * @addrs: in the order of the answer; borrowed for the call.
	 */
	void (*on_answer)(struct dns_ask *ask, int error, const struct cv_addr *addrs,
			  size_t count);
};

/** dns_resolve() - ask the nameservers of a pod, by sockets of the pod's; answers are kept for
 * their TTL. Bounded in time, names and questions per pod. */
void dns_resolve(struct dns *d, uint64_t netns_cookie, struct dns_ask *ask);

/** dns_count_named() - a connection of this pod needs the addresses of an endpoint that is given by
 * name: @host, the wildcard where it is one. For the metrics. */
void dns_count_named(struct dns *d, uint64_t netns_cookie, const char *host);

/** dns_name_at() - the name below the wildcard @host that @addr, one of the wildcard's, was given
 * to this pod for; put in place of @host. Return: 0; -EADDRNOTAVAIL it has not asked for it. */
_must_check_ int dns_name_at(struct dns *d, uint64_t netns_cookie, const struct cv_addr *addr,
			     char host[256]);

/** dns_metrics() - append istio_dns_* in OpenMetrics text; @arg is the struct dns. Return: 0;
 * -ENOMEM. */
int dns_metrics(void *arg, struct buf *into);

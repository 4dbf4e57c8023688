/* SPDX-License-Identifier: Apache-2.0 */
#include "earlier.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "net/addr.h"
#include "pods.h"
#include "rules.h"
#include "sockdump.h"

#define OPEN                                                                                       \
	(1u << TCP_ESTABLISHED | 1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 |  \
	 1u << TCP_CLOSE_WAIT)
/* A handshake may have been under way when the pod was captured: this many looks without anything
 * before it is believed. */
#define LOOKS      3
#define FOUND_MAX  1024 /* of one look; the next finds more */
#define PORTS_FILE "/proc/sys/net/ipv4/ip_local_port_range"

/* What is known of a pod. */
struct looked {
	uint64_t cookie;
	unsigned int walk; /* the last that has seen it */
	unsigned int empty;
};

struct earlier {
	struct earlier_config config;
	struct map *looked; /* cookie -> struct looked, owned */
	unsigned int walk;
};

/* One look into a pod's namespace. */
struct look {
	const struct earlier *earlier;
	const struct pods_info *pod;
	unsigned long first_ephemeral;
	uint8_t listens[65536 / 8]; /* by port, host order */
	bool has_any;
	struct cv_tuple found[FOUND_MAX];
	size_t found_count;
};

struct walk {
	struct earlier *earlier;
	earlier_fn *fn;
	void *arg;
};

static int on_listener(void *arg, const struct cv_tuple *t, const struct nlmsghdr *h)
{
	uint16_t port = ntohs(t->local_port);
	struct look *l = arg;

	(void)h;
	l->listens[port / 8] |= (uint8_t)(1u << (port % 8));
	return 0;
}

/* Its peer has dialled. A listener may be gone, and its port is then hardly one that the kernel
 * gave to a dialling socket. */
static bool is_inbound(const struct look *l, uint16_t port)
{
	return (l->listens[port / 8] & (1u << (port % 8))) || port < l->first_ephemeral;
}

static bool is_own(const struct pods_info *pod, const struct cv_addr *addr)
{
	for (size_t i = 0; i < pod->addr_count; i++)
		if (cv_addr_equal(&pod->addrs[i], addr))
			return true;
	return false;
}

/* By annotation. */
static bool is_excluded(const struct look *l, const struct cv_tuple *t)
{
	const struct cv_sockaddr at = {.addr = t->local, .port = t->local_port};

	return rules_leave_alone(l->earlier->config.datapath, &at, &t->remote);
}

static bool is_direct(const struct look *l, const struct cv_tuple *t)
{
	struct cv_tuple key = cv_tuple_is_first(t) ? *t : cv_tuple_turned(t);
	struct cv_direct d;

	return bpf_map_lookup_elem(datapath_map_fd(l->earlier->config.datapath, DATAPATH_DIRECTS),
				   &key, &d) == 0;
}

/* From loopback it is ztunnel that dials; to 15008 it is a tunnel. */
static int on_open(void *arg, const struct cv_tuple *t, const struct nlmsghdr *h)
{
	struct look *l = arg;

	(void)h;
	if (!is_inbound(l, ntohs(t->local_port)) || t->local_port == htons(CV_HBONE_PORT) ||
	    cv_addr_is_loopback(&t->remote) || cv_addr_is_loopback(&t->local) ||
	    is_own(l->pod, &t->remote) || is_direct(l, t) || is_excluded(l, t))
		return 0;
	l->has_any = true;
	if (l->found_count == FOUND_MAX)
		return 0;
	l->found[l->found_count] = *t;
	l->found[l->found_count++].netns_cookie = l->pod->netns_cookie;
	return 0;
}

static int look(void *arg)
{
	_cleanup_(freep) char *range = NULL;
	struct look *l = arg;
	int r = file_read(PORTS_FILE, 64, &range, NULL);

	l->first_ephemeral = r == 0 ? strtoul(range, NULL, 10) : 0;
	r = sockdump_tcp(1u << TCP_LISTEN, 0, on_listener, l);
	return r < 0 ? r : sockdump_tcp(OPEN, 0, on_open, l);
}

/* A pod with annotations about what comes in may get new ones at any time, and these outlive the
 * annotation. NULL: no memory, or it need not be looked at. */
static struct looked *looked_of(struct earlier *e, const struct pods_info *pod)
{
	uint64_t cookie = pod->netns_cookie;
	struct looked *seen = map_get(e->looked, &cookie, sizeof(cookie));

	if (!seen) {
		seen = calloc(1, sizeof(*seen));
		if (!seen)
			return NULL;
		seen->cookie = cookie;
		if (map_put(e->looked, &cookie, sizeof(cookie), seen) < 0) {
			free(seen);
			return NULL;
		}
	}
	seen->walk = e->walk;
	if (exclude_has_inbound(pod->exclusions))
		seen->empty = 0;
	return seen->empty < LOOKS ? seen : NULL;
}

/* By a Service its socket names another end than the pod's. */
static bool is_led_by_host(const struct earlier *e, const struct cv_tuple *turned)
{
	struct cv_tuple key = *turned;
	struct cv_vouch v;

	key.netns_cookie = 0;
	return bpf_map_lookup_elem(datapath_map_fd(e->config.datapath, DATAPATH_VOUCHED), &key,
				   &v) == 0 &&
	       v.netns_cookie == (uint32_t)e->config.home->cookie;
}

static bool is_of_host(const struct earlier *e, const struct cv_tuple *t)
{
	struct cv_tuple turned = cv_tuple_turned(t);

	return e->config.is_host_vouched && (is_led_by_host(e, &turned) || sockdump_has(&turned));
}

static void on_pod(void *arg, const struct pods_info *pod)
{
	const struct walk *w = arg;
	int fd = pods_netns_fd(w->earlier->config.pods, pod->netns_cookie), r;
	_cleanup_(freep) struct look *l = NULL;
	struct looked *seen;

	if (pod->state != PODS_CAPTURED || fd < 0)
		return;
	seen = looked_of(w->earlier, pod);
	l = seen ? calloc(1, sizeof(*l)) : NULL;
	if (!l)
		return;
	l->earlier = w->earlier;
	l->pod = pod;
	r = netns_call(w->earlier->config.home, fd, look, l);
	if (r < 0)
		log_debug("agent", "cannot look at a pod's connections pod=%s/%s error=%d",
			  pod->namespace_, pod->name, r);
	seen->empty = r < 0 || l->has_any ? 0 : seen->empty + 1;
	for (size_t i = 0; i < l->found_count; i++)
		if (!is_of_host(w->earlier, &l->found[i]))
			w->fn(w->arg, &l->found[i]);
}

/* A pod that leaves and comes again has been open to anyone meanwhile. */
static void forget_gone(struct earlier *e)
{
	map_for_each (e->looked, it) {
		struct looked *seen = it.value;

		if (seen->walk == e->walk)
			continue;
		(void)map_del(e->looked, it.key, it.key_len);
		free(seen);
	}
}

void earlier_walk(struct earlier *e, earlier_fn *fn, void *arg)
{
	struct walk w = {.earlier = e, .fn = fn, .arg = arg};

	e->walk++;
	pods_for_each(e->config.pods, on_pod, &w);
	forget_gone(e);
}

int earlier_new(const struct earlier_config *config, struct earlier **ret)
{
	_cleanup_(earlier_freep) struct earlier *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->config = *config;
	r = map_new(&e->looked);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(e);
	return 0;
}

struct earlier *earlier_free(struct earlier *e)
{
	if (!e)
		return NULL;
	if (e->looked)
		map_for_each (e->looked, it)
			free(it.value);
	map_free(e->looked);
	free(e);
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* datapath - the BPF programs, maps and links of this node, pinned in one folder: cv_<map>,
 * prog_<program>, link_<program>, lookup_<netns cookie>, guard_<ifindex>, reroute_<...>. Pins
 * outlive the agent; the next one adopts them: maps with all they hold, links with their programs
 * replaced. Owner: agent. Thread: loop only. Functions that can fail for the administrator's
 * reasons (datapath_open(), datapath_clean()) log the failure themselves; the others only return
 * it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/maps.h"

struct datapath; /* opaque */

enum datapath_map {
	DATAPATH_PODS,
	DATAPATH_POD_ADDRS,
	DATAPATH_WORKLOADS,
	DATAPATH_SERVICES,
	DATAPATH_FRONTENDS,
	DATAPATH_RANGES,
	DATAPATH_FRESH_UNTIL,
	DATAPATH_REGISTERED,
	DATAPATH_OUTBOUND_RULES,
	DATAPATH_INBOUND_RULES,
	DATAPATH_INBOUND_RANGES,
	DATAPATH_CONNS,
	DATAPATH_VOUCHED,
	DATAPATH_SHARES,
	DATAPATH_STEER,
	DATAPATH_SOCKETS,
	DATAPATH_NAMESERVERS,
	DATAPATH_NAMESERVER_ADDRS,
	DATAPATH_NAMESERVER_SLOTS,
	DATAPATH_LOCALS,
	DATAPATH_VERDICTS,
	DATAPATH_DENIED,
	DATAPATH_GENERATION,
	DATAPATH_DIRECTS,
	DATAPATH_DIRECT_TOLD,
	DATAPATH_DIRECT_UNTOLD,
	DATAPATH_REFUSED,
	DATAPATH_DIRECT_EVENTS,
	DATAPATH_LINKS,
	DATAPATH_POD_LINKS,
	DATAPATH_EXEMPT,
	DATAPATH_GIVEN,
	DATAPATH_GIVEN_PODS,
	DATAPATH_PASSED,
	DATAPATH_COUNTERS,
	DATAPATH_EVENTS,
	DATAPATH_MAP_MAX,
};

/** struct datapath_config - all borrowed for the call. */
struct datapath_config {
	const char *pin_dir;  /* folder on a bpffs; made if missing */
	uint64_t host_cookie; /* of the namespace whose processes reach pods as they are; 0: none do
			       */
	bool is_uplink_guarded; /* cv_uplink will be attached, see uplink.h */
	bool is_congestion_own; /* see struct cv_config */
	/* Another agent holds the folder: wait for it. Return: 0 try again; -errno give up, as
	 * without the callback. */
	int (*on_busy)(void *arg);
	void *on_busy_arg;
};

/**
 * datapath_open() - lock the pin folder, load, pin and attach everything that the kernel takes, or
 * adopt what is there.
 * Return: 0; -EBUSY another agent holds the folder; -errno. The failure has been logged.
 */
_must_check_ int datapath_open(const struct datapath_config *config, struct datapath **ret);

/** datapath_close() - let go; pins and links stay. Takes NULL. Return: NULL. */
struct datapath *datapath_close(struct datapath *d);
DEFINE_CLEANUP(struct datapath *, datapath_close);

/** datapath_unlock() - another agent may adopt the pins now; this one writes to no map any more. */
void datapath_unlock(struct datapath *d);
/** datapath_relock() - after that. Return: 0; -EBUSY another agent holds the folder. */
_must_check_ int datapath_relock(struct datapath *d);

/** datapath_pin_dir() - where the pins are; borrowed. */
const char *datapath_pin_dir(const struct datapath *d);

/** datapath_has_direct(), datapath_has_guard() - has the kernel taken the code of direct
 * connections, and the guard of pods' links? */
bool datapath_has_direct(const struct datapath *d);
bool datapath_has_guard(const struct datapath *d);
/** datapath_shortfall() - a line for people about what the kernel has refused; static, NULL:
 * nothing. */
const char *datapath_shortfall(const struct datapath *d);

/** datapath_clean() - detach and unpin everything below @pin_dir. Return: 0, also when nothing was
 * there; -EBUSY an agent is running; -errno. The failure has been logged. */
_must_check_ int datapath_clean(const char *pin_dir);

/** datapath_guard_fd(), _in_fd(), datapath_reroute_fd(), _back_fd(), datapath_uplink_fd() -
 * programs for pods' links, for machines inside pods, and for the uplink; borrowed. */
int datapath_guard_fd(const struct datapath *d);
int datapath_guard_in_fd(const struct datapath *d);
int datapath_reroute_fd(const struct datapath *d);
int datapath_reroute_back_fd(const struct datapath *d);
int datapath_uplink_fd(const struct datapath *d);

/** datapath_map_fd() - descriptor of a map; borrowed. */
int datapath_map_fd(const struct datapath *d, enum datapath_map map);

/** datapath_map_name() - as it is pinned. */
const char *datapath_map_name(enum datapath_map map);

/** datapath_put() - make or replace an entry. Return: 0; -E2BIG there is no room for it, which is
 * counted, and said the first time; -errno. */
int datapath_put(struct datapath *d, enum datapath_map map, const void *key, const void *value);

/** datapath_no_room() - count an entry that was not written for lack of room. What that costs
 * stands in bpf/README. datapath_no_room_counts() - by map, as many as DATAPATH_MAP_MAX; borrowed.
 */
void datapath_no_room(struct datapath *d, enum datapath_map map);
const uint64_t *datapath_no_room_counts(const struct datapath *d);

/** datapath_pod_set() - make or replace a pod's entry. Return: 0; -E2BIG map full; -errno. */
_must_check_ int datapath_pod_set(struct datapath *d, uint64_t cookie, const struct cv_pod *pod);
/** datapath_pod_get() - Return: 0; -ENOENT. */
_must_check_ int datapath_pod_get(struct datapath *d, uint64_t cookie, struct cv_pod *ret);
/** datapath_pod_del() - forget the pod and every address registered for it. Harmless when absent.
 */
void datapath_pod_del(struct datapath *d, uint64_t cookie);
/** datapath_pod_next() - walk the pods' cookies: start with *@cookie = 0. Do not add while walking.
 * Return: false at the end. */
bool datapath_pod_next(struct datapath *d, uint64_t *cookie);

/** datapath_pod_addr_set(), _del() - register an address of a pod. Return: 0; -errno. */
_must_check_ int datapath_pod_addr_set(struct datapath *d, uint64_t cookie,
				       const struct cv_addr *addr);
void datapath_pod_addr_del(struct datapath *d, uint64_t cookie, const struct cv_addr *addr);
/** datapath_pod_addrs_keep() - of a pod's addresses only these stay. @addrs: NULL with @n 0. */
void datapath_pod_addrs_keep(struct datapath *d, uint64_t cookie, const struct cv_addr *addrs,
			     size_t n);

/** datapath_local_set() - connections to @addr may find this pod without a tunnel. A failure costs
 * only that. datapath_local_del() - if it is still this pod's. */
void datapath_local_set(struct datapath *d, uint64_t cookie, const struct cv_addr *addr);
void datapath_local_del(struct datapath *d, uint64_t cookie, const struct cv_addr *addr);

/** datapath_steer_set() - what arrives at @addr goes to the listening socket @fd; replaces. Return:
 * 0; -errno. */
_must_check_ int datapath_steer_set(struct datapath *d, const struct cv_addr *addr,
				    enum cv_steer_kind kind, int fd);
/** datapath_steer_has() - is there a socket that listens for what arrives at @addr? It goes out of
 * the map with its last descriptor. */
bool datapath_steer_has(const struct datapath *d, const struct cv_addr *addr);
/** datapath_steer_del() - both kinds of @addr. Harmless when absent. */
void datapath_steer_del(struct datapath *d, const struct cv_addr *addr);

/** datapath_lookup_attach() - put the sk_lookup program into a namespace; one that is there and
 * pinned gets the new program. Return: 0; -errno. */
_must_check_ int datapath_lookup_attach(struct datapath *d, uint64_t cookie, int netns_fd);
/** datapath_lookup_detach() - take it out again. Harmless when absent. */
void datapath_lookup_detach(struct datapath *d, uint64_t cookie);
/** datapath_lookup_is_alone() - at most one sk_lookup program is attached in the namespace. True
 * when that cannot be told. */
bool datapath_lookup_is_alone(int netns_fd);
/** datapath_lookup_sweep() - detach every pinned lookup whose pod has no entry in cv_pods. */
void datapath_lookup_sweep(struct datapath *d);

/** datapath_mark() - say what kind of socket @fd is. Return: 0; -errno. */
_must_check_ int datapath_mark(struct datapath *d, int fd, enum cv_socket_kind kind);

/** datapath_counters() - sum over the CPUs of each counter. Return: 0; -errno. */
_must_check_ int datapath_counters(struct datapath *d, uint64_t ret[CV_REASON_MAX]);

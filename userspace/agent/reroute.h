/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* reroute - machines inside a pod (istio.io/reroute-virtual-interfaces): cv_reroute on their
 * interfaces in the pod's namespace, and the rules that route what it marks: to ztunnel's sockets,
 * or to nobody. All of it outlives the agent; pins: reroute_<netns cookie>_<ifindex>_<direction>.
 * Owner: enrolment. Thread: loop only; blocks until the kernel has answered. */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "datapath.h"
#include "model/exclude.h"
#include "netns.h"

#define REROUTE_PREFIX "reroute_"

/** struct reroute - what a pod has of it; zeroed: nothing. */
struct reroute {
	bool is_on; /* something may be in its namespace */
	char names[EXCLUDE_REROUTE_MAX][IF_NAMESIZE];
	uint32_t ifindexes[EXCLUDE_REROUTE_MAX]; /* 0: there is none of this name yet */
	size_t count;
	int error; /* -errno: it is not in force as it should be; 0 */
};

/** struct reroute_pod - whose namespace; borrowed. */
struct reroute_pod {
	const struct netns_home *home;
	uint64_t cookie;
	int netns_fd;
};

/**
 * reroute_sync() - make it so that these interfaces are rerouted, and no others
 * Interfaces may come and go: to be called again. Without @is_whole nothing is done while the same
 * ones are there.
 * @r:    is_on is the caller's; the rest is filled.
 * @want: reroute, reroute_count; borrowed.
 */
void reroute_sync(struct datapath *d, const struct reroute_pod *pod, struct reroute *r,
		  const struct exclusions *want, bool is_whole);

/** reroute_release() - nothing of it stays, connections through it are reset. Harmless when there
 * is nothing. */
void reroute_release(const char *pin_dir, const struct reroute_pod *pod);

/** reroute_forget() - the same of a pod of which only the cookie is known: its namespace is looked
 * for in the node's processes. */
void reroute_forget(const char *pin_dir, uint64_t cookie);

/** reroute_clean() - of every pod in the cv_pods that is pinned below @pin_dir. */
void reroute_clean(const char *pin_dir);

/** reroute_for_each() - what is in force, a line for people each. */
void reroute_for_each(const struct reroute *r, void (*fn)(void *arg, const char *line), void *arg);

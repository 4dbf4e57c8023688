/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* guard - cv_guard and cv_guard_in on the host's end of pods' links, by tcx where the kernel has
 * it, else by clsact; and what the programs know of those links. Owner: enrolment. Thread: loop;
 * guard_attach() and guard_retire() also guard_thread's. */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "datapath.h"
#include "netns.h"

/** enum guard_bypass - which packets of direct connections skip the host's stack? */
enum guard_bypass {
	GUARD_BYPASS_OFF,         /* none may: there are no direct connections */
	GUARD_BYPASS_ESTABLISHED, /* all but their SYNs, by which the host's filters decide */
	GUARD_BYPASS_FULL,        /* from the first packet on */
	GUARD_BYPASS_INVALID = -1,
};

/** guard_bypass_from_string() - "off", "established", "full"; else INVALID. */
enum guard_bypass guard_bypass_from_string(const char *text);

/** struct guard_pod - whose links; borrowed. */
struct guard_pod {
	const struct netns_home *home;
	uint64_t cookie;
	int netns_fd;
};

/**
 * guard_attach() - guard every link of a pod with the host; again: with the programs of now
 * @ret_tunnels: set on success: a sentence, why packets may not go from its link to another pod's;
 * NULL: they may.
 * Return: 0; -ENODEV there is no link to guard; -errno (then some may be guarded).
 */
_must_check_ int guard_attach(struct datapath *d, const struct guard_pod *pod,
			      enum guard_bypass bypass, const char **ret_tunnels);

/** guard_retire() - the pod leaves the mesh, or is gone: no new connection skips the host's stack.
 * Its guards are left to guard_sweep(). Harmless when there is nothing. */
void guard_retire(struct datapath *d, uint64_t cookie);

/**
 * guard_sweep() - forget links that are gone, a few at a time; detach the guards of pods that are
 * not captured (any more), once no direct connection needs them
 * @at: where the last look at links ended; 0 before the first.
 * Until then they only hand on what had the short way before: the host's conntrack has not seen
 * those connections go on, and where its rules drop what is invalid to it they would hang. All of
 * it is told from the maps, so it does not matter which agent began.
 */
void guard_sweep(struct datapath *d, uint32_t *at);

/** guard_exempt() - let the connections pass that the pod is opening now: they began before it was
 * enrolled. Return: 0; -errno. */
int guard_exempt(struct datapath *d, const struct guard_pod *pod);

/** guard_clean() - detach what is pinned below @pin_dir. */
void guard_clean(const char *pin_dir);

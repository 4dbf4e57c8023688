/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* adopt - tell apart what an earlier agent left in the maps: pods that are still here, and pods
 * that are gone. No state. */
#include <stdbool.h>
#include <stdint.h>

#include "datapath.h"

struct adopt_ops {
	/* an enrolment of now owns this cookie */
	bool (*is_owned)(void *arg, uint64_t netns_cookie);
	/* a pod of this name ("namespace/name", cut as in the map) is wanted but its namespace is
	 * not known yet */
	bool (*is_awaited)(void *arg, const char *name);
	/* a captured pod that no object is known of, whose processes live: it is not to be let go
	 * yet */
	bool (*is_left)(void *arg, uint64_t netns_cookie, const char *name);
	/* an enrolment of now has this address */
	bool (*has_addr)(void *arg, const struct cv_addr *addr);
};

/**
 * adopt_sweep() - release every pod in the maps that nobody owns or awaits. An awaited one stays,
 * because its namespace may still be this one and letting go of it would let plaintext out; so does
 * one that is left, but without a ztunnel: none serves it any more. Return: true when something
 * was left for later.
 */
bool adopt_sweep(struct datapath *d, const struct adopt_ops *ops, void *arg);

/** adopt_has_flag() - did an earlier agent leave a pod with any of these flags? @flags: enum
 * cv_pod_flags. */
bool adopt_has_flag(struct datapath *d, uint32_t flags);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* push_stats - what became of the responses that a delta server has sent, for metrics. Owner:
 * xds/server. One thread. */
#include <stddef.h>
#include <stdint.h>

#include "xds/types.h"

#define PUSH_BOUNDS 8

struct push_stats {
	uint64_t pushes[XDS_TYPE_MAX];  /* responses sent */
	uint64_t rejects[XDS_TYPE_MAX]; /* of them refused */
	/* From a change to its acknowledgement by one client: how often it took at most
	 * push_bounds_us[i], how often in all, and how long in all. */
	uint64_t converged_in[PUSH_BOUNDS], converged, converged_us;
};

/* Microseconds, sorted: Istio's of pilot_proxy_convergence_time. */
extern const uint64_t push_bounds_us[PUSH_BOUNDS];

/** push_stats_converged() - a client has all of a change, @took_us after it came. */
void push_stats_converged(struct push_stats *s, uint64_t took_us);

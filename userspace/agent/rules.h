/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* rules - a pod's exclusions in cv_outbound_rules, cv_inbound_rules and cv_inbound_ranges. Owner:
 * enrolment. Thread: loop only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datapath.h"
#include "model/exclude.h"

/** struct rules_of - whose rules. Borrowed for the call. */
struct rules_of {
	uint64_t netns_cookie;
	const struct cv_addr *addrs; /* where its inbound rules hold */
	size_t addr_count;
};

/** rules_put() - add these; older ones stay. Return: 0; -E2BIG, -ENOSPC no room: some are there,
 * rules_keep() with none takes them out; -errno. */
_must_check_ int rules_put(struct datapath *d, const struct rules_of *of,
			   const struct exclusions *x);
/** rules_keep() - take out all rules of this pod but these. */
void rules_keep(struct datapath *d, const struct rules_of *of, const struct exclusions *x);
/** rules_leave_alone() - is what comes from an address to a port of another the application's, see
 * inbound_is_excluded() of the programs? */
bool rules_leave_alone(const struct datapath *d, const struct cv_sockaddr *at,
		       const struct cv_addr *source);
/** rules_flags() - what the pod's entry has to say of them: enum cv_pod_flags. */
uint32_t rules_flags(const struct exclusions *x);

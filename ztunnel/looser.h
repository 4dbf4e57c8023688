/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* looser - what a change of one object does to verdicts by itself. A policy that is to hold for
 * fewer workloads, or that gives way to another, comes in one message, the workloads that name what
 * holds for them instead in another: between the two nothing does. Pure functions. */
#include <stdbool.h>

struct policy;
struct workload;

/** workload_is_judged_anew() - do verdicts on @node follow from something that is another now? They
 * are about its own pods: a peer shows who it is, and without a tunnel both ends are here. @old:
 * NULL: none. */
bool workload_is_judged_anew(const struct workload *old, const struct workload *now,
			     const char *node);

/** workload_is_looser() - @now no longer names something that @old names. True also where the same
 * names come in another order: nobody sends that. */
bool workload_is_looser(const struct workload *old, const struct workload *now);

/** policy_is_looser() - @old holds for workloads that do not name it, and @now (NULL: none) does
 * not. */
bool policy_is_looser(const struct policy *old, const struct policy *now);

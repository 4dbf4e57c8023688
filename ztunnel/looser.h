/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* looser - what a change of one object does to verdicts by itself. A policy that is to hold for
 * fewer workloads, or that gives way to another, comes in one message, the workloads that name what
 * holds for them instead in another: between the two nothing does. Pure functions. */
#include <stdbool.h>

struct policy;
struct workload;

/** workload_has_same_verdicts() - follows all that a verdict says of it from what is the same? */
bool workload_has_same_verdicts(const struct workload *old, const struct workload *now);

/** workload_is_looser() - @now no longer names something that @old names. True also where the same
 * names come in another order: nobody sends that. */
bool workload_is_looser(const struct workload *old, const struct workload *now);

/** policy_is_looser() - @old holds for workloads that do not name it, and @now (NULL: none) does
 * not. */
bool policy_is_looser(const struct policy *old, const struct policy *now);

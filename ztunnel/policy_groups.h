/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* policy_groups - the selector-scoped policies of this node's workloads: those that name the same
 * ones share one policy_set, so that a decision costs the same with 10 and 10,000 of them. A change
 * of a policy changes the groups that name it, a longer list is made from the one before. For
 * state_builder. Thread: the main loop. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/hamt.h"
#include "base/macros.h"
#include "ztunnel/policy_set.h"

struct policy;
struct policy_groups; /* opaque */
struct workload;

/** struct policy_group - as a snapshot has it. Immutable, counted. */
struct policy_group {
	atomic_uint refs;
	struct policy_set *set; /* NULL: none of them is there */
	size_t missing;         /* named and not there */
};
extern const struct hamt_ops policy_group_hamt_ops;

/** policy_groups_new() - @table: id (uint32_t) -> struct policy_group, kept current; @policies:
 * "ns/name" -> struct policy. Both borrowed. Return: 0; -ENOMEM. */
_must_check_ int policy_groups_new(struct hamt *table, const struct hamt *policies,
				   struct policy_groups **ret);
struct policy_groups *policy_groups_free(struct policy_groups *g);
DEFINE_CLEANUP(struct policy_groups *, policy_groups_free);

/**
 * policy_groups_enter() - one more workload with the policies that @w names
 * @like: a group that differs little, which makes this one cheap; 0: none.
 * @ret:  to give back with policy_groups_leave(); 0 when @w names none.
 * Return: 0; -ENOMEM.
 */
_must_check_ int policy_groups_enter(struct policy_groups *g, const struct workload *w,
				     uint32_t like, uint32_t *ret);
/** policy_groups_leave() - 0 is ignored. */
void policy_groups_leave(struct policy_groups *g, uint32_t id);

/** policy_groups_change() - a policy that groups may name comes (@gone NULL), goes (@added NULL) or
 * is replaced. Return: 0; -ENOMEM. */
_must_check_ int policy_groups_change(struct policy_groups *g, const char *name,
				      const struct policy *gone, struct policy *added);

/** policy_groups_missing() - policies that are named and not there. */
size_t policy_groups_missing(const struct policy_groups *g);

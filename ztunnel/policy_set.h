/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* policy_set - the policies of one scope (the mesh, or a namespace) as an index: what a decision
 * costs does not depend on how many there are. Immutable and atomically counted; a change makes a
 * new one that shares what stays.
 *
 * Each rule is filed under one thing that a connection must have for the rule to match: a
 * principal, a namespace, an account, a port, an address prefix, ... (an "anchor"), and of those
 * that it names under the one where fewest others are. A decision looks at the rules under the
 * connection's own properties only. Rules that name nothing but what must not be (not-fields) are
 * filed under one anchor that every connection has.
 *
 * What must not be is filed the other way round: under each such thing the rules that it is
 * against. Rules are numbered, and both are sets of numbers (slots.h): of those under an anchor the
 * ones that something of the connection's is against are taken out 64 at a time, and what is left
 * is looked at one by one. That most often matches; what does not are rules with a second thing to
 * be met, and those with several sources of which each but not all must not be. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/hamt.h"
#include "base/macros.h"
#include "ztunnel/policy.h"

struct policy_set; /* opaque */
struct policy_subject;

struct policy_set *policy_set_ref(struct policy_set *s);
/** policy_set_unref() - takes NULL. Return: NULL. */
struct policy_set *policy_set_unref(struct policy_set *s);
DEFINE_CLEANUP(struct policy_set *, policy_set_unref);

/** policy_set_hamt_ops - for a trie whose values are sets. */
extern const struct hamt_ops policy_set_hamt_ops;

/**
 * policy_set_change() - a copy of @old (NULL: empty) without @gone and with @added
 * @gone, @added: NULL: nothing; @added is counted.
 * Return: 0, *@ret NULL when nothing is left; -ENOMEM.
 */
_must_check_ int policy_set_change(const struct policy_set *old, const struct policy *gone,
				   struct policy *added, struct policy_set **ret);

/** policy_set_count() - policies of a class. @s may be NULL. */
size_t policy_set_count(const struct policy_set *s, enum policy_class class);

/** policy_set_has() - by "ns/name". @s may be NULL. */
bool policy_set_has(const struct policy_set *s, const char *key);

/** policy_set_is_by_identity() - all of them are. @s may be NULL. */
bool policy_set_is_by_identity(const struct policy_set *s);

/** policy_set_find() - a policy of this class with a rule that matches. @s may be NULL. Return:
 * borrowed; NULL: none. */
const struct policy *policy_set_find(const struct policy_set *s, enum policy_class class,
				     const struct policy_subject *subject);

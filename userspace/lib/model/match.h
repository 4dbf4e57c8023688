/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* match - the conditions of an AuthorizationPolicy as istio.security messages. For the files of
 * this folder only. Everything lives in scratch memory, whose error says whether there was memory.
 */
#include <stdbool.h>

#include "model/impl.h"
#include "userspace/lib/xds/authorization.pb-c.h"

/** struct match_unseen - a field that ztunnels have no condition for. */
struct match_unseen {
	const char *field;
	const char *why; /* begins a sentence that goes on with what becomes of the rule */
};

/** match_new() - an empty match: it is skipped by who reads it, so fill it. Return: NULL on lack of
 * memory. */
Istio__Security__Match *match_new(struct scratch *a);
/** match_has_any() - is any field set? */
bool match_has_any(const Istio__Security__Match *match);
/** match_from_source(), match_from_operation() - the fields of layer 4. @ns: the policy's, for
 * account names without one. */
Istio__Security__Match *match_from_source(const json_t *source, const char *ns, struct scratch *a);
Istio__Security__Match *match_from_operation(const json_t *operation, struct scratch *a);
/** match_from_condition() - one entry of `when`. Return: NULL also where ztunnels have no condition
 * for it. */
Istio__Security__Match *match_from_condition(const json_t *when, const char *ns, struct scratch *a);
/** match_unseen() - what ztunnels have no condition for in a source or operation, one after the
 * other. @at: 0 at first, moved on. Return: static; NULL: no more. */
const struct match_unseen *match_unseen(const json_t *source_or_operation, size_t *at);
/** match_condition_unseen() - why ztunnels have no condition for one entry of `when`, as above.
 * Return: static; NULL: they have one. */
const char *match_condition_unseen(const json_t *when);
/** match_no_identity() - the match that plaintext meets: not_principals presence. */
Istio__Security__Match *match_no_identity(struct scratch *a);

/** clause_new() - @n matches, any of which makes the clause true; the array is borrowed. */
Istio__Security__Clause *clause_new(Istio__Security__Match **matches, size_t n, struct scratch *a);
/** clause_new_single() - of one match. */
Istio__Security__Clause *clause_new_single(Istio__Security__Match *match, struct scratch *a);
/** rule_new() - room for @max clauses, all of which must be true. */
Istio__Security__Rule *rule_new(size_t max, struct scratch *a);
/** authorization_new() - with room for @max rules. Strings borrowed. */
Istio__Security__Authorization *authorization_new(const char *ns, const char *name, size_t max,
						  struct scratch *a);

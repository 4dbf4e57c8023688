/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/authz.h"

#include <string.h>

#include "base/str.h"
#include "ztunnel/policy_match.h"
#include "ztunnel/policy_set.h"
#include "ztunnel/state_internal.h"

/* What one destination's decisions are made of. */
struct scope {
	const struct state *state;
	const struct workload *dst;
	/* the mesh's, its namespace's, those that select it; NULL: none */
	const struct policy_set *sets[3];
	const struct policy_group *group; /* NULL: of another node, its list is gone through */
	struct policy_subject subject;
};

bool policy_is_match(const struct policy *p, const struct authz_conn *conn)
{
	struct policy_subject s;

	return policy_subject_init(conn, &s) == 0 && policy_is_hit(p, &s);
}

static void scope_begin(struct scope *s, const struct state *state, const struct workload *dst)
{
	s->state = state;
	s->dst = dst;
	s->sets[0] = state->t.global_policies;
	s->sets[1] = hamt_get_str(state->t.ns_policies, dst->app->namespace_);
	s->group = hamt_get(state->t.groups, &dst->policy_group, sizeof(dst->policy_group));
	s->sets[2] = s->group ? s->group->set : NULL;
}

static int scope_init(struct scope *s, const struct state *state, const struct workload *dst,
		      const struct authz_conn *conn)
{
	scope_begin(s, state, dst);
	return policy_subject_init(conn, &s->subject);
}

/* How many policies there are to look at one by one. */
static size_t listed(const struct scope *s)
{
	return s->group ? 0 : s->dst->app->policies_count;
}

/* A policy of the class that matches; the mesh's before the namespace's before the workload's own.
 */
static const struct policy *scope_find(const struct scope *s, enum policy_class class)
{
	const struct policy *p = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(s->sets) && !p; i++)
		p = policy_set_find(s->sets[i], class, &s->subject);
	for (size_t i = 0; i < listed(s) && !p; i++) {
		p = hamt_get_str(s->state->t.policies, s->dst->app->policies[i]);
		if (p && (policy_class_of(p) != class || !policy_is_hit(p, &s->subject)))
			p = NULL;
	}
	return p;
}

static bool scope_has(const struct scope *s, enum policy_class class)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->sets); i++)
		if (policy_set_count(s->sets[i], class) > 0)
			return true;
	for (size_t i = 0; i < listed(s); i++) {
		const struct policy *p =
			hamt_get_str(s->state->t.policies, s->dst->app->policies[i]);

		if (p && policy_class_of(p) == class)
			return true;
	}
	return false;
}

/* A policy that the workload names and that is not there. */
static const char *scope_missing(const struct scope *s)
{
	for (size_t i = 0; i < s->dst->app->policies_count && (!s->group || s->group->missing); i++)
		if (!hamt_get_str(s->state->t.policies, s->dst->app->policies[i]))
			return s->dst->app->policies[i];
	return NULL;
}

static void verdict_set(struct authz_verdict *v, bool is_allowed, const char *policy,
			const char *reason)
{
	v->is_allowed = is_allowed;
	v->reason = reason;
	(void)str_copy(v->policy, sizeof(v->policy), policy);
}

static void decide(const struct scope *s, struct authz_verdict *ret)
{
	const struct policy *p = scope_find(s, POLICY_CLASS_DENY);
	const char *missing = scope_missing(s);

	if (p) {
		verdict_set(ret, false, p->key,
			    p->is_broken ? "policy not understood" : "explicitly denied");
		return;
	}
	if (missing) {
		verdict_set(ret, false, missing, "policy not received yet");
		return;
	}
	p = scope_find(s, POLICY_CLASS_ALLOW);
	if (p)
		verdict_set(ret, true, p->key, "allow policy matched");
	else if (scope_has(s, POLICY_CLASS_ALLOW))
		verdict_set(ret, false, "", "allow policies exist, but none matched");
	else
		verdict_set(ret, true, "", "no allow policies");
}

void authz_check(const struct state *s, const struct workload *dst, const struct authz_conn *conn,
		 struct authz_verdict *ret)
{
	struct scope scope;

	if (!dst) {
		verdict_set(ret, false, "", "destination is not a known workload");
		return;
	}
	if (scope_init(&scope, s, dst, conn) < 0) {
		verdict_set(ret, false, "", "source identity is not a SPIFFE ID");
		return;
	}
	decide(&scope, ret);
}

static bool scope_has_notes(const struct scope *s)
{
	return scope_has(s, POLICY_CLASS_DRY_DENY) || scope_has(s, POLICY_CLASS_DRY_ALLOW) ||
	       scope_has(s, POLICY_CLASS_AUDIT);
}

static void note_dry_run(const struct scope *s, struct authz_notes *ret)
{
	const struct policy *p = scope_find(s, POLICY_CLASS_DRY_DENY);

	if (p) {
		ret->dry_run = AUTHZ_DRY_RUN_DENIED;
		ret->dry_run_policy = p->key;
		return;
	}
	p = scope_find(s, POLICY_CLASS_DRY_ALLOW);
	if (p) {
		ret->dry_run = AUTHZ_DRY_RUN_ALLOWED;
		ret->dry_run_policy = p->key;
	} else if (scope_has(s, POLICY_CLASS_DRY_ALLOW)) {
		ret->dry_run = scope_find(s, POLICY_CLASS_ALLOW) ? AUTHZ_DRY_RUN_ALLOWED
								 : AUTHZ_DRY_RUN_DENIED;
	} else if (scope_has(s, POLICY_CLASS_DRY_DENY)) {
		ret->dry_run = AUTHZ_DRY_RUN_ALLOWED;
	}
}

void authz_notes(const struct state *s, const struct workload *dst, const struct authz_conn *conn,
		 struct authz_notes *ret)
{
	const struct policy *p;
	struct scope scope;

	memset(ret, 0, sizeof(*ret));
	if (!dst)
		return;
	scope_begin(&scope, s, dst);
	/* Mostly there is nothing to note, and the identity need not be taken apart for it. */
	if (!scope_has_notes(&scope) || policy_subject_init(conn, &scope.subject) < 0)
		return;
	note_dry_run(&scope, ret);
	p = scope_find(&scope, POLICY_CLASS_AUDIT);
	ret->audit_policy = p ? p->key : NULL;
}

bool authz_is_by_identity(const struct state *s, const struct workload *dst)
{
	struct scope scope;

	scope_begin(&scope, s, dst);
	for (size_t i = 0; i < ARRAY_SIZE(scope.sets); i++)
		if (!policy_set_is_by_identity(scope.sets[i]))
			return false;
	for (size_t i = 0; i < listed(&scope); i++) {
		const struct policy *p = hamt_get_str(s->t.policies, dst->app->policies[i]);

		if (p && !policy_is_by_identity(p))
			return false;
	}
	return true;
}

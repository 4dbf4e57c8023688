/* SPDX-License-Identifier: Apache-2.0 */
/* policy - AuthorizationPolicies: which workloads they are for, and what
 * istio.security.Authorization they become. What a ztunnel cannot see (layer 7) or has no condition
 * for (trustDomains) allows nothing: an ALLOW rule with it is left out. A DENY rule is what is left
 * without it, and so denies more, or less where that was an alternative of its own, or nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/domains.h"
#include "model/match.h"
#include "model/pack.h"
#include "xds/types.h"

#define DRY_RUN "istio.io/dry-run"

/** struct unseen - something that a rule names and ztunnels have no condition for. */
struct unseen {
	struct unseen *next;
	const char *path;
	const char *why;
	bool is_from;  /* of two alternatives in from, else in to */
	bool is_alone; /* its alternative has nothing that they can see */
};

/** struct conversion - one policy on its way. */
struct conversion {
	struct model *m;
	struct policy *p;
	struct scratch *a;
	bool is_audit;
	bool is_wide; /* DENY, AUDIT: what cannot be seen is left out, the rest of the rule stays */
	size_t rule_index;
	struct unseen *unseen, **unseen_end; /* of the rule at hand */
};

static bool is_root(const struct model *m, const struct policy *p)
{
	return streq(p->e.object->namespace_, m->root_namespace);
}

/* A selector that can be relied upon, also in a policy that fails its schema; NULL: take the whole
 * scope. */
const json_t *policy_selector(const struct object *o)
{
	const json_t *labels = object_value(o, "spec.selector.matchLabels");
	const char *key;
	json_t *value;

	if (!o->is_invalid && !object_value(o, "spec.selector"))
		return NULL;
	if (!o->is_invalid)
		return labels ? labels : object_value(o, "spec.selector");
	if (!json_is_object(labels) || json_object_size(labels) == 0)
		return NULL;
	json_object_foreach ((json_t *)labels, key, value)
		if (!json_is_string(value))
			return NULL;
	return labels;
}

/* Policies for waypoints alone, and actions that ztunnels do not know, are not sent. */
static bool is_sent(const struct object *o)
{
	const char *action = object_string(o, "spec.action");

	if (object_value(o, "spec.targetRef") ||
	    json_array_size(object_value(o, "spec.targetRefs")) > 0)
		return false;
	return o->is_invalid || !action || !streq(action, "CUSTOM");
}

static struct index *policies_of(struct model *m, const char *ns)
{
	return streq(ns, m->root_namespace) ? &m->root_policies : &m->policies_by_label;
}

void policy_unlink(struct model *m, struct policy *p)
{
	if (p->in_selector.bucket)
		selector_mark(m, p->e.object->namespace_, p->selector, true);
	index_del(policies_of(m, p->e.object->namespace_), &p->in_selector);
	output_unset(m, XDS_AUTHORIZATION, p->e.key);
}

int policy_link(struct model *m, struct policy *p)
{
	const char *ns = p->e.object->namespace_;
	int r;

	p->selector = policy_selector(p->e.object);
	if (!p->selector || !is_sent(p->e.object))
		return 0;
	r = selector_file(policies_of(m, ns), ns, p->selector, p, &p->in_selector);
	if (r < 0)
		return r;
	selector_mark(m, ns, p->selector, true);
	return 0;
}

/* What to tell of it depends on what becomes of the rule. Return: NULL on lack of memory. */
static struct unseen *unseen_note(struct conversion *c, const char *list, size_t i,
				  const char *member, const char *field)
{
	struct unseen *f = scratch_alloc(c->a, sizeof(*f));

	if (!f)
		return NULL;
	f->path = scratch_format(c->a, "spec.rules[%zu].%s[%zu]%s%s", c->rule_index, list, i,
				 member, field);
	*c->unseen_end = f;
	c->unseen_end = &f->next;
	return f->path ? f : NULL;
}

/* @is_none: nothing is left of the rule. @is_cut: of to, of from: alternatives are left, and those
 * of which nothing is seen are not among them. */
static void unseen_report(const struct conversion *c, bool is_none, const bool is_cut[2])
{
	const char *does = c->is_audit ? "logs" : c->is_wide ? "denies" : "allows";

	for (const struct unseen *f = c->unseen; f; f = f->next)
		report(c->m, f->path, true, "%s the rule %s %s", f->why, does,
		       is_none                             ? "nothing"
		       : f->is_alone && is_cut[f->is_from] ? "less than it says"
							   : "more than it says");
}

/* One alternative of from or to. *@ret: NULL when nothing is in it that ztunnels see. */
static int convert_member(struct conversion *c, const char *list, size_t i, const json_t *one,
			  Istio__Security__Match **ret)
{
	bool is_from = streq(list, "from");
	const char *member = is_from ? "source" : "operation";
	const json_t *body = json_object_get(one, member);
	const struct match_unseen *u;
	size_t at = 0;
	bool is_alone;

	*ret = is_from ? match_from_source(body, c->p->e.object->namespace_, c->a)
		       : match_from_operation(body, c->a);
	if (!*ret)
		return -ENOMEM;
	is_alone = !match_has_any(*ret);
	if (is_alone)
		*ret = NULL;
	while ((u = match_unseen(body, &at)) != NULL) {
		struct unseen *f =
			unseen_note(c, list, i, is_from ? ".source." : ".operation.", u->field);

		if (!f)
			return -ENOMEM;
		f->why = u->why;
		f->is_from = is_from;
		f->is_alone = is_alone;
	}
	return 0;
}

/**
 * convert_list() - from or to as a clause
 * @ret: NULL when there is no such list, or nothing that ztunnels see is left in it.
 * @ret_is_open: of some alternative nothing is seen: with it the whole clause could be true.
 */
static int convert_list(struct conversion *c, const json_t *rule, const char *list,
			Istio__Security__Clause **ret, bool *ret_is_open)
{
	const json_t *all = json_object_get(rule, list), *one;
	Istio__Security__Match **matches =
		scratch_alloc(c->a, (json_array_size(all) + 1) * sizeof(*matches));
	size_t i, n = 0;

	if (!matches)
		return -ENOMEM;
	*ret_is_open = false;
	json_array_foreach (all, i, one) {
		int r = convert_member(c, list, i, one, &matches[n]);

		if (r < 0)
			return r;
		*ret_is_open |= !matches[n];
		n += matches[n] != NULL;
	}
	*ret = n ? clause_new(matches, n, c->a) : NULL;
	return c->a->error;
}

static int convert_when(struct conversion *c, const json_t *rule, Istio__Security__Rule *ret)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(rule, "when"), i, one) {
		const char *why = match_condition_unseen(one);
		Istio__Security__Match *match;

		if (why) {
			struct unseen *f = unseen_note(c, "when", i, ".", "key");

			if (!f)
				return -ENOMEM;
			f->why = why;
			continue;
		}
		match = match_from_condition(one, c->p->e.object->namespace_, c->a);
		ret->clauses[ret->n_clauses++] = clause_new_single(match, c->a);
	}
	return c->a->error;
}

/* A clause with an alternative that could be anything says nothing where others remain; alone, what
 * it does say is kept: *@ret_is_cut. */
static void add_clauses(Istio__Security__Rule *rule, Istio__Security__Clause *const clauses[2],
			const bool is_open[2], bool ret_is_cut[2])
{
	size_t before = rule->n_clauses;

	for (int i = 0; i < 2; i++)
		if (clauses[i] && !is_open[i])
			rule->clauses[rule->n_clauses++] = clauses[i];
	if (rule->n_clauses > before || before > 0)
		return;
	for (int i = 0; i < 2; i++) {
		ret_is_cut[i] = clauses[i];
		if (clauses[i])
			rule->clauses[rule->n_clauses++] = clauses[i];
	}
}

/* *@ret: NULL when the rule is left out. */
static int convert_rule(struct conversion *c, const json_t *json, Istio__Security__Rule **ret)
{
	Istio__Security__Rule *rule =
		rule_new(json_array_size(json_object_get(json, "when")) + 2, c->a);
	Istio__Security__Clause *clauses[2];
	bool is_open[2], is_cut[2] = {false, false}, is_none;
	int r;

	if (!rule)
		return -ENOMEM;
	c->unseen = NULL;
	c->unseen_end = &c->unseen;
	r = convert_when(c, json, rule);
	if (r < 0)
		return r;
	r = convert_list(c, json, "to", &clauses[0], &is_open[0]);
	if (r < 0)
		return r;
	r = convert_list(c, json, "from", &clauses[1], &is_open[1]);
	if (r < 0)
		return r;
	add_clauses(rule, clauses, is_open, is_cut);
	/* Nothing is seen of what it is about: that is not everything. */
	is_none = c->unseen && (!c->is_wide || rule->n_clauses == 0);
	unseen_report(c, is_none, is_cut);
	*ret = is_none ? NULL : rule;
	return 0;
}

static int convert_rules(struct conversion *c, Istio__Security__Authorization *z)
{
	const json_t *one;
	size_t i;

	json_array_foreach (object_value(c->p->e.object, "spec.rules"), i, one) {
		Istio__Security__Rule *rule;
		int r;

		c->rule_index = i;
		r = convert_rule(c, one, &rule);
		if (r < 0)
			return r;
		if (rule)
			z->rules[z->n_rules++] = rule;
	}
	return 0;
}

/* What cannot be understood denies: one rule without clauses matches everything. */
static int deny_all(Istio__Security__Authorization *z, struct scratch *a)
{
	z->action = ISTIO__SECURITY__ACTION__DENY;
	z->rules[0] = rule_new(0, a);
	z->n_rules = 1;
	return a->error;
}

/* The words of Go's ParseBool, which Istio reads it by. Return: false also for no such word. */
static bool is_dry_run(const struct object *o, bool *ret_is_word)
{
	static const char *const yes[] = {"true", "True", "TRUE", "t", "T", "1"},
				 *const no[] = {"false", "False", "FALSE", "f", "F", "0"};
	const char *dry = object_annotation(o, DRY_RUN);

	*ret_is_word = true;
	for (size_t i = 0; dry && i < ARRAY_SIZE(yes); i++)
		if (streq(dry, yes[i]))
			return true;
	for (size_t i = 0; dry && i < ARRAY_SIZE(no); i++)
		if (streq(dry, no[i]))
			return false;
	*ret_is_word = !dry;
	return false;
}

static int convert(struct conversion *c, Istio__Security__Authorization *z)
{
	const struct object *o = c->p->e.object;
	const char *action = object_string(o, "spec.action");
	bool is_word;

	if (c->p->selector)
		z->scope = ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
	else
		z->scope = is_root(c->m, c->p) ? ISTIO__SECURITY__SCOPE__GLOBAL
					       : ISTIO__SECURITY__SCOPE__NAMESPACE;
	z->dry_run = is_dry_run(o, &is_word);
	if (o->is_invalid)
		return deny_all(z, c->a);
	c->is_audit = action && streq(action, "AUDIT");
	c->is_wide = c->is_audit || (action && streq(action, "DENY"));
	z->action = c->is_wide ? ISTIO__SECURITY__ACTION__DENY : ISTIO__SECURITY__ACTION__ALLOW;
	return convert_rules(c, z);
}

/* Istio's message has no such action: see XDS_AUDIT_EXTENSION. */
static int wrap_audit(Istio__Security__Authorization *z, struct scratch *a)
{
	size_t len = istio__security__authorization__get_packed_size(z);
	Istio__Workload__Extension *e = scratch_alloc(a, sizeof(*e));
	Google__Protobuf__Any *any = scratch_alloc(a, sizeof(*any));
	uint8_t *packed = scratch_alloc(a, len + 1);

	z->extensions = scratch_alloc(a, sizeof(*z->extensions));
	if (!e || !any || !packed || !z->extensions)
		return -ENOMEM;
	(void)istio__security__authorization__pack(z, packed);
	istio__workload__extension__init(e);
	google__protobuf__any__init(any);
	any->type_url = (char *)xds_type_url(XDS_AUTHORIZATION);
	any->value = (ProtobufCBinaryData){len, packed};
	e->name = XDS_AUDIT_EXTENSION;
	e->config = any;
	z->extensions[0] = e;
	z->n_extensions = 1;
	z->n_rules = 0;
	return 0;
}

static bool any_pod(void *arg, struct pod *pod)
{
	return true;
}

static void policy_report(struct model *m, struct policy *p)
{
	const struct object *o = p->e.object;
	const char *action = object_string(o, "spec.action");
	bool is_word, is_dry = is_dry_run(o, &is_word);

	if (is_sent(o) && !o->is_invalid && !is_word)
		report(m, "metadata.annotations[" DRY_RUN "]", true,
		       "neither true nor false: the policy is enforced");
	if (is_sent(o) && !o->is_invalid && object_value(o, "spec.provider"))
		report(m, "spec.provider", true, "has no meaning without action CUSTOM");
	if (o->is_invalid)
		report(m, "spec", false,
		       "not understood: until it is, it %s everything in its scope",
		       is_dry ? "would deny, were it no dry run," : "denies");
	else if (!is_sent(o) && action && streq(action, "CUSTOM"))
		report(m, "spec.action", true,
		       "%s is not enforced by ztunnels: other policies decide without it", action);
	else if (!is_sent(o))
		report(m, "spec", true, "targetRefs are for waypoints: not enforced by ztunnels");
	if (is_sent(o) && p->selector &&
	    !selector_pods_scope(m, o->namespace_, p->selector, any_pod, NULL))
		report(m, "spec.selector", true, "matches no pod");
}

int policy_flush(struct model *m, struct policy *p)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	const struct object *o = p->e.object;
	struct conversion c = {.m = m, .p = p, .a = &a};
	Istio__Security__Authorization *z;
	int r;

	policy_report(m, p);
	if (!is_sent(o))
		return 0;
	z = authorization_new(o->namespace_, o->name,
			      MAX(json_array_size(object_value(o, "spec.rules")), 1U), &a);
	if (!z)
		return -ENOMEM;
	r = convert(&c, z);
	if (r == 0)
		domains_expand(m, z, &a);
	if (r == 0 && c.is_audit)
		r = wrap_audit(z, &a);
	if (r < 0 || a.error)
		return r < 0 ? r : a.error;
	return output_set(m, XDS_AUTHORIZATION, p->e.key, &z->base);
}

/** struct names - the policies of a pod in the making. */
struct names {
	const struct pod *pod;
	struct scratch *a;
	char **names;
	size_t count, cap;
};

static void names_add(struct names *n, char *name)
{
	if (n->count == n->cap) {
		size_t cap = n->cap ? n->cap * 2 : 8;
		char **grown = scratch_alloc(n->a, cap * sizeof(*grown));

		if (!grown)
			return;
		if (n->count)
			memcpy(grown, n->names, n->count * sizeof(*grown));
		n->names = grown;
		n->cap = cap;
	}
	n->names[n->count++] = name;
}

static void on_candidate(void *arg, void *owner)
{
	const struct policy *p = owner;
	struct names *n = arg;

	if (labels_match(p->selector, n->pod->e.object->labels))
		names_add(n, (char *)(uintptr_t)p->e.key);
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int pod_policies(const struct model *m, const struct pod *p, struct scratch *a, char ***ret,
		 size_t *ret_count)
{
	struct names n = {.pod = p, .a = a};
	const char *ns = p->e.object->namespace_;
	const json_t *labels = p->e.object->labels;
	char *peer = pod_peer_policy(m, p, a);

	if (!streq(ns, m->root_namespace))
		selector_candidates(&m->policies_by_label, ns, labels, on_candidate, &n);
	selector_candidates(&m->root_policies, m->root_namespace, labels, on_candidate, &n);
	if (peer)
		names_add(&n, peer);
	if (a->error)
		return a->error;
	if (n.count)
		qsort(n.names, n.count, sizeof(*n.names), name_compare);
	*ret = n.names;
	*ret_count = n.count;
	return 0;
}

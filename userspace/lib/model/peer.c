/* SPDX-License-Identifier: Apache-2.0 */
/* peer - PeerAuthentications, compiled to DENY policies on what has no identity (mesh < namespace <
 * workload, UNSET inherits, of several in one scope the oldest counts). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/match.h"
#include "model/pack.h"

enum mode {
	MODE_UNSET,
	MODE_PERMISSIVE, /* DISABLE too: the same on the way in */
	MODE_STRICT,
};

/* Pods of a policy's that are looked at to find one that an older policy has: mostly all are alike,
 * and a change of one is to cost as much among many. */
#define LOOKED_AT_MAX 64

static enum mode mode_of(const json_t *mtls)
{
	const char *s = json_string_value(json_object_get(mtls, "mode"));

	if (!s || streq(s, "UNSET"))
		return MODE_UNSET;
	return streq(s, "STRICT") ? MODE_STRICT : MODE_PERMISSIVE;
}

/* One that cannot be understood asks for as much as one can. */
static enum mode peer_mode(const struct peer *p)
{
	return p->e.object->is_invalid ? MODE_STRICT
				       : mode_of(object_value(p->e.object, "spec.mtls"));
}

static bool is_root(const struct model *m, const struct peer *p)
{
	return streq(p->e.object->namespace_, m->root_namespace);
}

static const struct peer *oldest_wide(const struct model *m, const char *ns)
{
	const struct peer *best = NULL;
	const struct index_link *l;

	index_for_each(l, index_find(&m->peers_wide, ns))
	{
		const struct peer *p = l->owner;

		if (!best || object_is_older(p->e.object, best->e.object))
			best = p;
	}
	return best;
}

/* What holds in a namespace before any selector. */
static bool namespace_is_strict(const struct model *m, const char *ns)
{
	const struct peer *mesh = oldest_wide(m, m->root_namespace), *own = oldest_wide(m, ns);

	if (own && peer_mode(own) != MODE_UNSET)
		return peer_mode(own) == MODE_STRICT;
	return mesh && peer_mode(mesh) == MODE_STRICT;
}

static bool workload_is_strict(const struct model *m, const struct peer *p)
{
	if (peer_mode(p) != MODE_UNSET)
		return peer_mode(p) == MODE_STRICT;
	return namespace_is_strict(m, p->e.object->namespace_);
}

/* The ports that differ from what holds for the workload, sorted. */
static size_t exceptions(const struct peer *p, bool is_strict, uint32_t *ports, size_t max)
{
	size_t n = 0;
	const char *key;
	json_t *value;

	if (p->e.object->is_invalid)
		return 0;
	json_object_foreach (object_value(p->e.object, "spec.portLevelMtls"), key, value) {
		enum mode mode = mode_of(value);
		uint64_t port;

		if (n == max || mode == MODE_UNSET || (mode == MODE_STRICT) == is_strict ||
		    str_parse_u64(key, 1, 65535, &port) < 0)
			continue;
		ports[n++] = (uint32_t)port;
	}
	return n;
}

static size_t exceptions_max(const struct peer *p)
{
	return json_object_size(object_value(p->e.object, "spec.portLevelMtls"));
}

static bool has_exceptions(const struct peer *p, bool is_strict)
{
	uint32_t port;

	return exceptions(p, is_strict, &port, 1) > 0;
}

/* Of the others of the whole namespace, which counts may be another one now; those with a selector
 * inherit from it. */
static void mark_peer(struct model *m, const char *ns)
{
	char key[MODEL_KEY_MAX];
	const struct index_link *l;

	index_for_each(l, index_find(&m->peers_wide, ns))
		entity_mark(m, &((struct peer *)l->owner)->e);
	(void)snprintf(key, sizeof(key), "%s\n", ns);
	index_for_each(l, index_find(&m->peers_wide, key))
		entity_mark(m, &((struct peer *)l->owner)->e);
}

/* A whole namespace, or the mesh: its pods, and the policies that inherit from it. */
static void wide_mark(struct model *m, const struct peer *p)
{
	const char *ns = p->e.object->namespace_;

	if (!is_root(m, p)) {
		pods_mark_bucket(m, index_find(&m->pods_by_namespace, ns));
		mark_peer(m, ns);
		return;
	}
	map_for_each (m->entities[ENTITY_POD], it)
		entity_mark(m, it.value);
	map_for_each (m->entities[ENTITY_PEER], it)
		entity_mark(m, it.value);
}

static void converted_name(const struct peer *p, char buf[MODEL_KEY_MAX])
{
	(void)snprintf(buf, MODEL_KEY_MAX, "%s/" CONVERTED_PEER "%s", p->e.object->namespace_,
		       p->e.object->name);
}

static void rival_mark(void *arg, void *owner)
{
	entity_mark(arg, &((struct peer *)owner)->e);
}

/** struct looked - for the others that select a pod of one policy's. */
struct looked {
	struct model *model;
	const struct peer *policy;
	unsigned int pods;
	const struct pod *lost; /* to the older one */
	const struct peer *older;
};

static bool rivals_mark(void *arg, struct pod *pod)
{
	struct looked *l = arg;

	selector_candidates(&l->model->peers_by_label, pod->e.object->namespace_,
			    pod->e.object->labels, rival_mark, l->model);
	return ++l->pods == LOOKED_AT_MAX;
}

static void peer_mark(struct model *m, const struct peer *p)
{
	struct looked l = {.model = m};

	if (!p->selector) {
		wide_mark(m, p);
		return;
	}
	selector_mark(m, p->e.object->namespace_, p->selector, false);
	(void)selector_pods(m, p->e.object->namespace_, p->selector, rivals_mark, &l);
}

void peer_unlink(struct model *m, struct peer *p)
{
	char name[MODEL_KEY_MAX];

	peer_mark(m, p);
	index_del(p->selector ? &m->peers_by_label : &m->peers_wide, &p->in_selector);
	index_del(&m->peers_wide, &p->in_namespace);
	converted_name(p, name);
	output_unset(m, XDS_AUTHORIZATION, name);
}

/* In the root namespace a selector has no meaning (Istio ignores the whole policy). */
static bool is_ignored(const struct model *m, const struct peer *p)
{
	return p->selector && is_root(m, p);
}

int peer_link(struct model *m, struct peer *p)
{
	const char *ns = p->e.object->namespace_;
	char key[MODEL_KEY_MAX];
	int r;

	p->selector = policy_selector(p->e.object);
	if (json_object_size(p->selector) == 0)
		p->selector = NULL;
	if (is_ignored(m, p))
		return 0;
	if (!p->selector) {
		r = index_add(&m->peers_wide, ns, p, &p->in_selector);
	} else {
		r = selector_file(&m->peers_by_label, ns, p->selector, p, &p->in_selector);
		if (r < 0)
			return r;
		(void)snprintf(key, sizeof(key), "%s\n", ns);
		r = index_add(&m->peers_wide, key, p, &p->in_namespace);
	}
	if (r == 0)
		peer_mark(m, p);
	return r;
}

static Istio__Security__Authorization *deny_new(const char *ns, const char *name, size_t clauses,
						struct scratch *a)
{
	Istio__Security__Authorization *z = authorization_new(ns, name, 1, a);

	if (!z)
		return NULL;
	z->scope = ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
	z->action = ISTIO__SECURITY__ACTION__DENY;
	z->rules[0] = rule_new(clauses, a);
	z->n_rules = 1;
	return z->rules[0] ? z : NULL;
}

int static_strict_flush(struct model *m)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	Istio__Security__Authorization *z = deny_new(m->root_namespace, STATIC_STRICT, 1, &a);
	char name[MODEL_KEY_MAX];

	if (!z)
		return -ENOMEM;
	z->rules[0]->clauses[0] = clause_new_single(match_no_identity(&a), &a);
	z->rules[0]->n_clauses = 1;
	if (a.error)
		return a.error;
	(void)snprintf(name, sizeof(name), "%s/%s", m->root_namespace, STATIC_STRICT);
	return output_set(m, XDS_AUTHORIZATION, name, &z->base);
}

static int port_compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* STRICT but for some ports: no identity AND none of these ports. Permissive but for some: no
 * identity, to these ports. */
static int exceptions_pack(const struct peer *p, bool is_strict, Istio__Security__Rule *rule,
			   struct scratch *a)
{
	Istio__Security__Match *plain = match_no_identity(a), *other = match_new(a);
	uint32_t *ports = scratch_alloc(a, exceptions_max(p) * sizeof(*ports) + 1);
	size_t n;

	if (!plain || !other || !ports)
		return -ENOMEM;
	n = exceptions(p, is_strict, ports, exceptions_max(p));
	qsort(ports, n, sizeof(*ports), port_compare);
	rule->clauses[rule->n_clauses++] = clause_new_single(plain, a);
	if (is_strict) {
		other->not_destination_ports = ports;
		other->n_not_destination_ports = n;
		rule->clauses[rule->n_clauses++] = clause_new_single(other, a);
	} else {
		plain->destination_ports = ports;
		plain->n_destination_ports = n;
	}
	return a->error;
}

/** struct search - the oldest policy that selects a pod. */
struct search {
	const json_t *labels;
	const struct peer *best;
};

static void on_candidate(void *arg, void *owner)
{
	const struct peer *p = owner;
	struct search *s = arg;

	if (labels_match(p->selector, s->labels) &&
	    (!s->best || object_is_older(p->e.object, s->best->e.object)))
		s->best = p;
}

static const struct peer *oldest_narrow(const struct model *m, const struct pod *pod)
{
	struct search s = {.labels = pod->e.object->labels};

	selector_candidates(&m->peers_by_label, pod->e.object->namespace_, s.labels, on_candidate,
			    &s);
	return s.best;
}

/* Of those that an older one has, the first by name: whatever came first. */
static bool lost_find(void *arg, struct pod *pod)
{
	struct looked *l = arg;
	const struct peer *oldest = oldest_narrow(l->model, pod);

	if (oldest != l->policy &&
	    (!l->lost || strcmp(pod->e.object->name, l->lost->e.object->name) < 0)) {
		l->lost = pod;
		l->older = oldest;
	}
	return ++l->pods == LOOKED_AT_MAX;
}

static void narrow_report(struct model *m, const struct peer *p)
{
	const struct object *o = p->e.object;
	struct looked l = {.model = m, .policy = p};

	(void)selector_pods(m, o->namespace_, p->selector, lost_find, &l);
	if (l.pods == 0)
		report(m, "spec.selector", true, "matches no pod in namespace %s", o->namespace_);
	else if (l.lost)
		report(m, "metadata.name", true, "%s/%s is older and counts instead for pod %s",
		       o->namespace_, l.older->e.object->name, l.lost->e.object->name);
}

static bool is_disable(const json_t *mtls)
{
	const char *s = json_string_value(json_object_get(mtls, "mode"));

	return s && streq(s, "DISABLE");
}

/* It is the same as PERMISSIVE, as with Istio's ztunnel: no client is told not to encrypt. */
static void disable_report(struct model *m, const char *field)
{
	report(m, field, true,
	       "DISABLE is taken as PERMISSIVE: plaintext is let in, pods of the mesh use mutual "
	       "TLS all the same");
}

static void modes_report(struct model *m, const struct object *o)
{
	const char *key;
	json_t *value;

	if (is_disable(object_value(o, "spec.mtls")))
		disable_report(m, "spec.mtls.mode");
	json_object_foreach (object_value(o, "spec.portLevelMtls"), key, value) {
		char field[64];

		(void)snprintf(field, sizeof(field), "spec.portLevelMtls.%.8s.mode", key);
		if (is_disable(value))
			disable_report(m, field);
	}
}

static void peer_report(struct model *m, struct peer *p)
{
	const struct object *o = p->e.object;

	if (!o->is_invalid && !is_ignored(m, p))
		modes_report(m, o);
	if (is_ignored(m, p))
		report(m, "spec.selector", true,
		       "a policy with a selector has no effect in the root namespace");
	else if (o->is_invalid)
		report(m, "spec", false, "not understood: STRICT holds in its scope until it is");
	else if (!p->selector && oldest_wide(m, o->namespace_) != p)
		report(m, "metadata.name", true, "%s/%s is older and counts instead", o->namespace_,
		       oldest_wide(m, o->namespace_)->e.object->name);
	if (p->selector && !is_ignored(m, p))
		narrow_report(m, p);
}

int peer_flush(struct model *m, struct peer *p)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	char key[MODEL_KEY_MAX], name[MODEL_KEY_MAX];
	Istio__Security__Authorization *z;
	bool is_strict;
	int r;

	peer_report(m, p);
	converted_name(p, key);
	output_unset(m, XDS_AUTHORIZATION, key);
	if (!p->selector || is_ignored(m, p))
		return 0;
	is_strict = workload_is_strict(m, p);
	if (!has_exceptions(p, is_strict))
		return 0;
	(void)snprintf(name, sizeof(name), CONVERTED_PEER "%s", p->e.object->name);
	z = deny_new(p->e.object->namespace_, name, 2, &a);
	if (!z)
		return -ENOMEM;
	r = exceptions_pack(p, is_strict, z->rules[0], &a);
	return r < 0 ? r : output_set(m, XDS_AUTHORIZATION, key, &z->base);
}

char *pod_peer_policy(const struct model *m, const struct pod *pod, struct scratch *a)
{
	const char *ns = pod->e.object->namespace_;
	const struct peer *best = oldest_narrow(m, pod);
	bool is_strict = best ? workload_is_strict(m, best) : namespace_is_strict(m, ns);

	if (best && has_exceptions(best, is_strict))
		return scratch_format(a, "%s/" CONVERTED_PEER "%s", ns, best->e.object->name);
	return is_strict ? scratch_format(a, "%s/%s", m->root_namespace, STATIC_STRICT) : NULL;
}

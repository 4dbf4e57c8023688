/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/state_builder.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "net/cidr.h"
#include "ztunnel/looser.h"
#include "ztunnel/node_port.h"
#include "ztunnel/state_internal.h"

/* A service and who serves it. Without a definition: endpoints that came before their service
 * ("staged"). */
struct service_entry {
	struct list dirty; /* in builder.dirty while the snapshot lags behind */
	struct service_def *def;
	struct workload **endpoints; /* counted */
	size_t count;
	size_t cap;
	char key[];
};

/* Pod with a tunnel > pod > tunnel > the rest. */
static int workload_rank(const struct workload *w)
{
	return (strstr(w->uid, "//Pod/") ? 0 : 2) + (w->protocol == WORKLOAD_HBONE ? 0 : 1);
}

static int compare_workloads(const void *a, const void *b)
{
	int ra = workload_rank(a);
	int rb = workload_rank(b);

	/* where two claim one address the answer must not depend on who came last */
	return ra != rb ? ra - rb
			: strcmp(((const struct workload *)a)->uid,
				 ((const struct workload *)b)->uid);
}

static int compare_defs(const void *a, const void *b)
{
	const struct service_def *da = a;
	const struct service_def *db = b;

	if (da->is_canonical != db->is_canonical)
		return da->is_canonical ? -1 : 1;
	return strcmp(da->key, db->key);
}

static int shared_change(struct reflist **list, const struct reflist_edit *c)
{
	struct reflist *l = NULL;
	int r = reflist_change(*list, c, &l);

	if (r < 0)
		return r;
	reflist_unref(*list);
	*list = l;
	return 0;
}

static void entry_set_dirty(struct state_builder *b, struct service_entry *e)
{
	if (list_is_empty(&e->dirty))
		list_add_tail(&b->dirty, &e->dirty);
}

static int entry_get(struct state_builder *b, const char *key, struct service_entry **ret)
{
	struct service_entry *e = map_get_str(b->services, key);
	size_t len = strlen(key);

	if (!e) {
		e = calloc(1, sizeof(*e) + len + 1);
		if (!e)
			return -ENOMEM;
		memcpy(e->key, key, len + 1);
		list_init(&e->dirty);
		if (map_put_str(b->services, key, e) < 0) {
			free(e);
			return -ENOMEM;
		}
	}
	*ret = e;
	return 0;
}

static void entry_free(struct service_entry *e)
{
	for (size_t i = 0; i < e->count; i++)
		workload_unref(e->endpoints[i]);
	free(e->endpoints);
	service_def_unref(e->def);
	list_del(&e->dirty);
	free(e);
}

static int entry_add(struct service_entry *e, struct workload *w)
{
	if (e->count == e->cap) {
		size_t cap = e->cap ? e->cap * 2 : 4;
		struct workload **p = realloc(e->endpoints, cap * sizeof(struct workload *));

		if (!p)
			return -ENOMEM;
		e->endpoints = p;
		e->cap = cap;
	}
	e->endpoints[e->count++] = workload_ref(w);
	return 0;
}

static void entry_del(struct service_entry *e, const struct workload *w)
{
	for (size_t i = 0; i < e->count; i++) {
		if (e->endpoints[i] != w)
			continue;
		workload_unref(e->endpoints[i]);
		e->endpoints[i] = e->endpoints[--e->count];
		return;
	}
}

/* Nobody serves it and it is not defined: forget it, once the snapshot knows. */
static void entry_sweep(struct state_builder *b, struct service_entry *e)
{
	if (e->def || e->count)
		return;
	map_del_str(b->services, e->key);
	entry_free(e);
}

/* Whether it is found at @addr, the first @count of its addresses counting. */
static bool has_addr(const struct workload *w, size_t count, const struct cv_addr *addr)
{
	for (size_t i = 0; i < count && !w->is_host_network; i++)
		if (memcmp(&w->addrs[i], addr, sizeof(*addr)) == 0)
			return true;
	return false;
}

/* @next: what takes its place, for workload_link(), where it is still found; or NULL. */
static int workload_unlink(struct state_builder *b, struct workload *w, const struct workload *next)
{
	const struct reflist_edit c = {
		.ops = &workload_hamt_ops, .gone = w, .compare = compare_workloads};
	int r = 0;

	for (size_t i = 0; i < w->app->services_count; i++) {
		struct service_entry *e = map_get_str(b->services, w->app->services[i].key);

		if (!e)
			continue;
		entry_del(e, w);
		entry_set_dirty(b, e);
	}
	for (size_t i = 0; i < w->addrs_count && !w->is_host_network; i++) {
		if (next && has_addr(next, next->addrs_count, &w->addrs[i]))
			continue;
		if (state_addr_change(b, &w->addrs[i], &c) < 0)
			r = -ENOMEM;
	}
	policy_groups_leave(b->groups, w->policy_group);
	if (!next && (hamt_del_str(b->t.workloads, w->uid) == -ENOMEM ||
		      host_ports_change(b->t.host_ports, w, NULL) < 0))
		r = -ENOMEM;
	return r;
}

/* @old: whose place it takes, or NULL. */
static int workload_link(struct state_builder *b, struct workload *w, const struct workload *old)
{
	const struct reflist_edit c = {
		.ops = &workload_hamt_ops, .gone = old, .added = w, .compare = compare_workloads};
	int r = hamt_put_str(b->t.workloads, w->uid, w);

	for (size_t i = 0; i < w->app->services_count && r == 0; i++) {
		struct service_entry *e;

		r = entry_get(b, w->app->services[i].key, &e);
		if (r == 0)
			r = entry_add(e, w);
		if (r == 0)
			entry_set_dirty(b, e);
	}
	for (size_t i = 0; i < w->addrs_count && !w->is_host_network && r == 0; i++)
		if (!has_addr(w, i, &w->addrs[i])) /* listed twice it counts once */
			r = state_addr_change(b, &w->addrs[i], &c);
	return r < 0 ? r : host_ports_change(b->t.host_ports, old, w);
}

int state_builder_put_workload(struct state_builder *b, struct workload *w)
{
	struct workload *old = hamt_get_str(b->t.workloads, w->uid);
	int r = 0;

	/* before the old one leaves its group, which this one may be made from */
	if (state_is_here(b, w))
		r = policy_groups_enter(b->groups, w, old ? old->policy_group : 0,
					&w->policy_group);
	if (r < 0)
		return r;
	b->policy_generation += state_is_judged_anew(b, old, w);
	b->is_looser |= old && state_is_here(b, w) && workload_is_looser(old, w);
	if (!old)
		return workload_link(b, w, NULL);
	old = workload_ref(old);
	r = workload_unlink(b, old, w);
	if (r < 0)
		policy_groups_leave(b->groups, w->policy_group);
	else
		r = workload_link(b, w, old);
	workload_unref(old);
	return r;
}

static int def_unlink(struct state_builder *b, struct service_def *d)
{
	const struct reflist_edit c = {
		.ops = &service_def_hamt_ops, .gone = d, .compare = compare_defs};
	int r = several_change(b->t.hostnames, d->hostname, strlen(d->hostname), &c);

	for (size_t i = 0; i < d->vips_count; i++)
		if (d->vips[i].len == CIDR_FULL &&
		    several_change(b->t.vips, &d->vips[i].addr, sizeof(struct cv_addr), &c) < 0)
			r = -ENOMEM;
	if (b->t.cidr_vips && shared_change(&b->t.cidr_vips, &c) < 0)
		r = -ENOMEM;
	return node_ports_change(b->t.node_ports, d, &c) < 0 ? -ENOMEM : r;
}

static int def_link(struct state_builder *b, struct service_def *d)
{
	/* naming it as gone too keeps it single where an address is listed twice */
	const struct reflist_edit c = {
		.ops = &service_def_hamt_ops, .gone = d, .added = d, .compare = compare_defs};
	int r = several_change(b->t.hostnames, d->hostname, strlen(d->hostname), &c);

	for (size_t i = 0; i < d->vips_count && r == 0; i++) {
		if (d->vips[i].len == CIDR_FULL)
			r = several_change(b->t.vips, &d->vips[i].addr, sizeof(struct cv_addr), &c);
		else
			r = shared_change(&b->t.cidr_vips, &c);
	}
	return r < 0 ? r : node_ports_change(b->t.node_ports, d, &c);
}

int state_builder_put_service(struct state_builder *b, struct service_def *d)
{
	struct service_entry *e;
	int r = entry_get(b, d->key, &e);

	if (r < 0)
		return r;
	if (e->def) {
		r = def_unlink(b, e->def);
		if (r < 0)
			return r;
		e->def = service_def_unref(e->def);
	}
	r = def_link(b, d);
	if (r < 0)
		return r;
	e->def = service_def_ref(d);
	entry_set_dirty(b, e);
	return 0;
}

int state_builder_del_address(struct state_builder *b, const char *name)
{
	struct workload *w = hamt_get_str(b->t.workloads, name);
	struct service_entry *e;
	int r;

	if (w) {
		w = workload_ref(w);
		r = workload_unlink(b, w, NULL);
		b->policy_generation += state_is_here(b, w);
		workload_unref(w);
		return r;
	}
	e = map_get_str(b->services, name);
	if (!e || !e->def)
		return 0;
	r = def_unlink(b, e->def);
	e->def = service_def_unref(e->def);
	entry_set_dirty(b, e);
	return r;
}

/* The set of @ns, or the mesh's for NULL, with one policy less or more. */
static int policies_change(struct state_builder *b, const char *ns, const struct policy *gone,
			   struct policy *added)
{
	_cleanup_(policy_set_unrefp) struct policy_set *s = NULL;
	struct policy_set *old = ns ? hamt_get_str(b->t.ns_policies, ns) : b->t.global_policies;
	int r = policy_set_change(old, gone, added, &s);

	if (r < 0)
		return r;
	if (!ns) {
		policy_set_unref(b->t.global_policies);
		b->t.global_policies = TAKE_PTR(s);
		return 0;
	}
	if (s)
		return hamt_put_str(b->t.ns_policies, ns, s);
	r = hamt_del_str(b->t.ns_policies, ns);
	return r == -ENOENT ? 0 : r;
}

/* Where a policy is found besides by its name: for its namespace, or for all. One that replaces
 * another in the same place does so in one step. */
static int policy_index(struct state_builder *b, const struct policy *gone, struct policy *added)
{
	bool is_moved = gone && added && gone->scope != added->scope;
	int r = 0;

	if (added && added->scope == POLICY_GLOBAL)
		r = policies_change(b, NULL, is_moved ? NULL : gone, added);
	else if (added && added->scope == POLICY_NAMESPACE)
		r = policies_change(b, added->namespace_, is_moved ? NULL : gone, added);
	if (r < 0 || !gone || (added && !is_moved))
		return r;
	if (gone->scope == POLICY_GLOBAL)
		return policies_change(b, NULL, gone, NULL);
	if (gone->scope == POLICY_NAMESPACE)
		return policies_change(b, gone->namespace_, gone, NULL);
	return 0;
}

int state_builder_put_policy(struct state_builder *b, struct policy *p)
{
	struct policy *old = hamt_get_str(b->t.policies, p->key);
	int r = policy_index(b, old, p);

	if (r == 0)
		r = policy_groups_change(b->groups, p->key, old, p);
	if (r < 0)
		return r;
	b->policy_generation++;
	b->is_looser |= old && policy_is_looser(old, p);
	return hamt_put_str(b->t.policies, p->key, p);
}

int state_builder_del_policy(struct state_builder *b, const char *name)
{
	struct policy *p = hamt_get_str(b->t.policies, name);
	int r;

	if (!p)
		return 0;
	b->is_looser |= policy_is_looser(p, NULL);
	r = policy_index(b, p, NULL);
	if (r == 0)
		r = policy_groups_change(b->groups, name, p, NULL);
	if (r == 0)
		r = hamt_del_str(b->t.policies, name);
	if (r < 0)
		return r;
	b->policy_generation++;
	return 0;
}

struct name_visit {
	int (*fn)(void *arg, const char *name);
	void *arg;
};

static int on_name(void *arg, const void *key, size_t key_len, void *value)
{
	const struct name_visit *v = arg;

	return v->fn(v->arg, key); /* these tables have strings for keys */
}

int state_builder_for_each_address(const struct state_builder *b,
				   int (*fn)(void *arg, const char *name), void *arg)
{
	struct name_visit visit = {fn, arg};
	int r = hamt_visit(b->t.workloads, on_name, &visit);

	if (r != 0)
		return r;
	map_for_each (b->services, it) {
		const struct service_entry *e = it.value;

		r = e->def ? fn(arg, e->key) : 0;
		if (r != 0)
			break;
	}
	return r;
}

int state_builder_for_each_policy(const struct state_builder *b,
				  int (*fn)(void *arg, const char *name), void *arg)
{
	struct name_visit visit = {fn, arg};

	return hamt_visit(b->t.policies, on_name, &visit);
}

/* @value NULL: nothing. */
static int table_set(struct hamt *table, const char *key, void *value)
{
	int r = value ? hamt_put_str(table, key, value) : hamt_del_str(table, key);

	return r == -ENOENT ? 0 : r;
}

int state_builder_set_identity(struct state_builder *b, const char *identity,
			       const struct tls_identity *t)
{
	return table_set(b->t.identities, identity, (void *)t);
}

int state_builder_set_stand_in(struct state_builder *b, const char *uid, struct workload *w)
{
	return table_set(b->t.stand_ins, uid, w);
}

struct state_flags *state_builder_flags(struct state_builder *b)
{
	return &b->flags;
}

struct mesh_nodes *state_builder_nodes(struct state_builder *b)
{
	return b->nodes;
}

bool state_builder_is_missing_policies(const struct state_builder *b)
{
	return policy_groups_missing(b->groups) > 0;
}

bool state_builder_is_looser(const struct state_builder *b)
{
	return b->is_looser;
}

static const struct workload_service *workload_link_to(const struct workload *w, const char *key)
{
	for (size_t i = 0; i < w->app->services_count; i++)
		if (streq(w->app->services[i].key, key))
			return &w->app->services[i];
	return NULL;
}

static int service_make(const struct service_entry *e, struct service **ret)
{
	_cleanup_(service_unrefp) struct service *s = calloc(1, sizeof(*s));
	uint64_t sum = 0;

	if (!s)
		return -ENOMEM;
	atomic_init(&s->refs, 1);
	s->def = service_def_ref(e->def);
	if (e->count) {
		s->endpoints = malloc(e->count * sizeof(s->endpoints[0]));
		if (!s->endpoints)
			return -ENOMEM;
	}
	for (size_t i = 0; i < e->count; i++) {
		struct workload *w = e->endpoints[i];

		if (!w->is_healthy && !e->def->is_allow_unhealthy)
			continue;
		sum += w->capacity;
		s->endpoints[s->endpoints_count++] = (struct endpoint){
			.workload = workload_ref(w),
			.link = workload_link_to(w, e->key),
			.weight_end = sum,
		};
	}
	if (service_name_pods(s) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(s);
	return 0;
}

static int entry_flush(struct state_builder *b, struct service_entry *e)
{
	_cleanup_(service_unrefp) struct service *s = NULL;
	int r;

	if (e->def) {
		r = service_make(e, &s);
		if (r == 0)
			r = hamt_put_str(b->t.services, e->key, s);
	} else {
		r = hamt_del_str(b->t.services, e->key);
		if (r == -ENOENT)
			r = 0;
	}
	if (r < 0)
		return r;
	list_del(&e->dirty);
	entry_sweep(b, e);
	return 0;
}

int state_builder_build(struct state_builder *b, struct state **ret)
{
	struct service_entry *e, *tmp;
	struct state *s;
	int r;

	list_for_each_entry_safe (e, tmp, &b->dirty, dirty) {
		r = entry_flush(b, e);
		if (r < 0)
			return r;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	r = state_tables_publish(&b->t, &s->t);
	if (r < 0) {
		free(s);
		return r;
	}
	atomic_init(&s->refs, 1);
	s->policy_generation = b->policy_generation;
	s->flags = b->flags;
	b->is_looser = false;
	*ret = s;
	return 0;
}

int state_builder_build_aside(struct state_builder *b, const struct state *last, struct state **ret)
{
	int r = state_new_aside(last, &b->t, ret);

	if (r < 0)
		return r;
	(*ret)->flags.is_alone |= b->flags.is_alone;
	return 0;
}

int state_builder_new(const char *node, struct state_builder **ret)
{
	_cleanup_(state_builder_freep) struct state_builder *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	list_init(&b->dirty);
	if (strlen(node) >= sizeof(b->node))
		return -EINVAL;
	memcpy(b->node, node, strlen(node) + 1);
	r = state_tables_init(&b->t);
	if (r == 0)
		r = map_new(&b->services);
	if (r == 0)
		r = map_new(&b->pods);
	if (r == 0)
		r = policy_groups_new(b->t.groups, b->t.policies, &b->groups);
	if (r == 0)
		r = mesh_nodes_new(b->t.nodes, b->t.pod_ranges, &b->nodes);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(b);
	return 0;
}

struct state_builder *state_builder_free(struct state_builder *b)
{
	if (!b)
		return NULL;
	if (b->services)
		map_for_each (b->services, it)
			entry_free(it.value);
	map_free(b->services);
	map_free(b->pods);
	policy_groups_free(b->groups);
	mesh_nodes_free(b->nodes);
	if (b->t.workloads)
		state_tables_release(&b->t);
	free(b);
	return NULL;
}

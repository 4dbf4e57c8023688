/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/map.h"
#include "net/cidr.h"
#include "tls/identity.h"
#include "ztunnel/arena.h"
#include "ztunnel/node_port.h"
#include "ztunnel/state_internal.h"

/* Reference counting of a counted, arena-owning struct, and its face towards the trie. @id: the
 * field that it is found by. */
#define DEFINE_COUNTED(type, release, id)                                                          \
	struct type *type##_ref(struct type *p)                                                    \
	{                                                                                          \
		atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);                      \
		return p;                                                                          \
	}                                                                                          \
	struct type *type##_unref(struct type *p)                                                  \
	{                                                                                          \
		if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)        \
			release(p);                                                                \
		return NULL;                                                                       \
	}                                                                                          \
	static void *type##_ref_value(void *p)                                                     \
	{                                                                                          \
		return type##_ref(p);                                                              \
	}                                                                                          \
	static void type##_unref_value(void *p)                                                    \
	{                                                                                          \
		type##_unref(p);                                                                   \
	}                                                                                          \
	static const void *type##_key(const void *p, size_t *ret_len)                              \
	{                                                                                          \
		*ret_len = strlen(((const struct type *)p)->id);                                   \
		return ((const struct type *)p)->id;                                               \
	}                                                                                          \
	const struct hamt_ops type##_hamt_ops = {                                                  \
		.ref = type##_ref_value, .unref = type##_unref_value, .key = type##_key}

static void workload_release(struct workload *w)
{
	if (w->app)
		shared_unref((struct shared *)&w->app->shared);
	if (w->place)
		shared_unref((struct shared *)&w->place->shared);
	arena_free(arena_of(w));
}

static void service_def_release(struct service_def *d)
{
	arena_free(d->arena);
	free(d);
}

int service_name_pods(struct service *s)
{
	size_t first = 0;

	while (first < s->endpoints_count && !*s->endpoints[first].workload->rare->dns_name)
		first++;
	if (s->def->vips_count || first == s->endpoints_count)
		return 0;
	s->pod_names = calloc(s->endpoints_count, sizeof(s->pod_names[0]));
	if (!s->pod_names)
		return -ENOMEM;
	for (size_t i = first; i < s->endpoints_count; i++) {
		const char *name = s->endpoints[i].workload->rare->dns_name;

		s->pod_names[i] = (uint32_t)map_hash(name, strlen(name));
	}
	return 0;
}

static void service_release(struct service *s)
{
	for (size_t i = 0; i < s->endpoints_count; i++)
		workload_unref(s->endpoints[i].workload);
	free(s->endpoints);
	free(s->pod_names);
	service_def_unref(s->def);
	free(s);
}

static void policy_release(struct policy *p)
{
	arena_free(p->arena);
	free(p);
}

DEFINE_COUNTED(workload, workload_release, uid);
DEFINE_COUNTED(service_def, service_def_release, key);
DEFINE_COUNTED(service, service_release, def->key);
DEFINE_COUNTED(policy, policy_release, key);

/* One of them, or a list. */
#define DEFINE_SEVERAL(type)                                                                       \
	static void *type##s_ref(void *value)                                                      \
	{                                                                                          \
		struct reflist *l = several_of(value);                                             \
		return l ? several_value(reflist_ref(l)) : (void *)type##_ref(value);              \
	}                                                                                          \
	static void type##s_unref(void *value)                                                     \
	{                                                                                          \
		if (several_of(value))                                                             \
			reflist_unref(several_of(value));                                          \
		else                                                                               \
			type##_unref(value);                                                       \
	}                                                                                          \
	const struct hamt_ops type##s_hamt_ops = {.ref = type##s_ref, .unref = type##s_unref}

DEFINE_SEVERAL(workload);
DEFINE_SEVERAL(service_def);

static void *identity_ref_value(void *t)
{
	return (void *)tls_identity_ref(t);
}

static void identity_unref_value(void *t)
{
	tls_identity_unref(t);
}

const struct hamt_ops identity_hamt_ops = {.ref = identity_ref_value,
					   .unref = identity_unref_value};

int state_tables_init(struct state_tables *t)
{
	const struct {
		const struct hamt_ops *ops;
		struct hamt **into;
	} tables[] = {
		{&workload_hamt_ops, &t->workloads},      {&workloads_hamt_ops, &t->addrs},
		{&service_hamt_ops, &t->services},        {&service_defs_hamt_ops, &t->vips},
		{&service_defs_hamt_ops, &t->hostnames},  {&policy_hamt_ops, &t->policies},
		{&policy_set_hamt_ops, &t->ns_policies},  {&identity_hamt_ops, &t->identities},
		{&policy_group_hamt_ops, &t->groups},     {&workload_hamt_ops, &t->stand_ins},
		{&service_defs_hamt_ops, &t->node_ports}, {&mesh_nodes_hamt_ops, &t->nodes},
		{&mesh_nodes_hamt_ops, &t->pod_ranges},   {&workloads_hamt_ops, &t->host_ports},
	};

	memset(t, 0, sizeof(*t));
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		if (hamt_new_versioned(tables[i].ops, tables[i].into) < 0) {
			state_tables_release(t);
			return -ENOMEM;
		}
	}
	return 0;
}

int state_tables_publish(const struct state_tables *t, struct state_tables *ret)
{
	const struct {
		struct hamt *from;
		struct hamt **into;
	} tables[] = {
		{t->workloads, &ret->workloads},     {t->addrs, &ret->addrs},
		{t->services, &ret->services},       {t->vips, &ret->vips},
		{t->hostnames, &ret->hostnames},     {t->policies, &ret->policies},
		{t->ns_policies, &ret->ns_policies}, {t->identities, &ret->identities},
		{t->groups, &ret->groups},           {t->stand_ins, &ret->stand_ins},
		{t->node_ports, &ret->node_ports},   {t->nodes, &ret->nodes},
		{t->host_ports, &ret->host_ports},   {t->pod_ranges, &ret->pod_ranges},
	};

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		if (hamt_publish(tables[i].from, tables[i].into) < 0) {
			state_tables_release(ret);
			return -ENOMEM;
		}
	}
	ret->global_policies = t->global_policies ? policy_set_ref(t->global_policies) : NULL;
	ret->cidr_vips = t->cidr_vips ? reflist_ref(t->cidr_vips) : NULL;
	return 0;
}

void state_tables_release(struct state_tables *t)
{
	hamt_free(t->workloads);
	hamt_free(t->addrs);
	hamt_free(t->services);
	hamt_free(t->vips);
	hamt_free(t->hostnames);
	hamt_free(t->policies);
	hamt_free(t->ns_policies);
	hamt_free(t->groups);
	hamt_free(t->identities);
	hamt_free(t->stand_ins);
	hamt_free(t->node_ports);
	hamt_free(t->nodes);
	hamt_free(t->pod_ranges);
	hamt_free(t->host_ports);
	policy_set_unref(t->global_policies);
	reflist_unref(t->cidr_vips);
	memset(t, 0, sizeof(*t));
}

struct state *state_ref(struct state *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct state *state_unref(struct state *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	if (s->base) {
		hamt_free(s->t.identities);
		hamt_free(s->t.stand_ins);
		state_unref(s->base);
	} else {
		state_tables_release(&s->t);
	}
	free(s);
	return NULL;
}

int state_new_aside(const struct state *last, const struct state_tables *now, struct state **ret)
{
	const struct state *base = last->base ? last->base : last;
	_cleanup_(freep) struct state *s = malloc(sizeof(*s));
	struct hamt *identities;

	if (!s || hamt_publish(now->identities, &identities) < 0)
		return -ENOMEM;
	*s = *last;
	s->t.identities = identities;
	if (hamt_publish(now->stand_ins, &s->t.stand_ins) < 0) {
		hamt_free(identities);
		return -ENOMEM;
	}
	atomic_init(&s->refs, 1);
	s->base = state_ref((struct state *)(uintptr_t)base);
	*ret = TAKE_PTR(s);
	return 0;
}

const struct workload *state_workload_by_uid(const struct state *s, const char *uid)
{
	return hamt_get_str(s->t.workloads, uid);
}

const struct workload *state_workload_by_addr(const struct state *s, const struct cv_addr *addr)
{
	return several_at(hamt_get(s->t.addrs, addr, sizeof(*addr)), 0);
}

static bool def_is_visible(const struct service_def *d, const char *client_namespace)
{
	if (!d->is_namespace_only)
		return true;
	for (size_t i = 0; i < d->visible_to_count; i++)
		if (streq(d->visible_to[i], client_namespace))
			return true;
	return d->visible_to_count == 0 && streq(d->namespace_, client_namespace);
}

/* Lists hold canonical services first: the client's own namespace wins, then the first one that it
 * may see. */
static const struct service_def *defs_pick(const void *value, const char *client_namespace)
{
	const struct service_def *first = NULL;
	const struct service_def *d;

	for (size_t i = 0; (d = several_at(value, i)); i++) {
		if (!def_is_visible(d, client_namespace))
			continue;
		if (streq(d->namespace_, client_namespace))
			return d;
		if (!first)
			first = d;
	}
	return first;
}

/* Length of the longest CIDR of @d that holds @addr, or -1. */
static int def_cidr_len(const struct service_def *d, const struct cv_addr *addr)
{
	int best = -1;

	for (size_t i = 0; i < d->vips_count; i++) {
		struct cidr c = {.addr = d->vips[i].addr, .len = d->vips[i].len};

		if (c.len < CIDR_FULL && (int)c.len > best && cidr_contains(&c, addr))
			best = c.len;
	}
	return best;
}

/* Same namespace beats a longer prefix, which beats canonical (the list's own order). */
static const struct service_def *cidr_pick(const struct reflist *l, const struct cv_addr *addr,
					   const char *client_namespace)
{
	const struct service_def *best = NULL;
	int best_len = -1;

	for (size_t i = 0; l && i < l->count; i++) {
		const struct service_def *d = l->items[i];
		int len = def_cidr_len(d, addr);

		if (len < 0 || !def_is_visible(d, client_namespace))
			continue;
		if (streq(d->namespace_, client_namespace))
			len += CIDR_FULL;
		if (len > best_len) {
			best = d;
			best_len = len;
		}
	}
	return best;
}

const struct service *state_service_by_vip(const struct state *s, const struct cv_addr *addr,
					   const char *client_namespace)
{
	const struct service_def *d =
		defs_pick(hamt_get(s->t.vips, addr, sizeof(*addr)), client_namespace);

	return d ? state_service_by_key(s, d->key) : NULL;
}

const struct service *state_service_by_addr(const struct state *s, const struct cv_addr *addr,
					    const char *client_namespace)
{
	const struct service *v = state_service_by_vip(s, addr, client_namespace);
	const struct service_def *d = v ? NULL : cidr_pick(s->t.cidr_vips, addr, client_namespace);

	return d ? state_service_by_key(s, d->key) : v;
}

bool service_has_port(const struct service *service, uint16_t port)
{
	for (size_t i = 0; service && i < service->def->ports_count; i++)
		if (service->def->ports[i].service_port == port)
			return true;
	return false;
}

static bool find_node_port(const struct state *s, const struct cv_sockaddr *at,
			   const char *client_namespace, struct frontend *ret)
{
	const struct mesh_node *node =
		several_at(hamt_get(s->t.nodes, &at->addr, sizeof(at->addr)), 0);
	uint16_t port = ntohs(at->port);
	const struct service_def *d = NULL;

	if (node)
		d = defs_pick(hamt_get(s->t.node_ports, &port, sizeof(port)), client_namespace);
	for (size_t i = 0; d && i < d->node_ports_count; i++) {
		if (d->node_ports[i].node_port != port)
			continue;
		*ret = (struct frontend){
			.service = state_service_by_key(s, d->key),
			.to = {.addr = at->addr, .port = htons(d->node_ports[i].service_port)},
			.node = node->name,
		};
		return ret->service;
	}
	return false;
}

/* As the kernel's maps have it, and as kube-proxy's rules stand before a CNI's. */
void state_frontend(const struct state *s, const struct cv_sockaddr *at,
		    const char *client_namespace, struct frontend *ret)
{
	const struct cv_sockaddr key = {.addr = at->addr, .port = at->port};
	const struct service *v = state_service_by_addr(s, &at->addr, client_namespace);

	if (!service_has_port(v, ntohs(at->port)) &&
	    (find_node_port(s, &key, client_namespace, ret) ||
	     host_ports_find(s->t.host_ports, &key, ret)))
		return;
	*ret = (struct frontend){.service = v, .to = key};
}

const struct service *state_service_by_hostname(const struct state *s, const char *hostname,
						const char *client_namespace)
{
	const struct service_def *d =
		defs_pick(hamt_get_str(s->t.hostnames, hostname), client_namespace);

	return d ? state_service_by_key(s, d->key) : NULL;
}

const struct service *state_service_by_key(const struct state *s, const char *key)
{
	return hamt_get_str(s->t.services, key);
}

const struct tls_identity *state_tls_identity(const struct state *s, const char *identity)
{
	return hamt_get_str(s->t.identities, identity);
}

uint64_t state_policy_generation(const struct state *s)
{
	return s->policy_generation;
}

bool state_is_alone(const struct state *s)
{
	return s->flags.is_alone;
}

bool state_is_in_doubt(const struct state *s, const struct cv_addr *addr)
{
	return s->flags.is_alone && mesh_nodes_has_pods(s->t.pod_ranges, addr);
}

/* Not of a pod that was made anew under its name, and the control plane has not said so yet. */
static const struct workload *of_account(const struct workload *w, const char *account)
{
	return w && *account && !streq(w->app->service_account, account) ? NULL : w;
}

const struct workload *state_pod(const struct state *s, const char *uid, const char *account,
				 uint32_t incarnation)
{
	const struct workload *w = of_account(hamt_get_str(s->t.workloads, uid), account);

	return w && incarnation && w->incarnation && w->incarnation != incarnation ? NULL : w;
}

const struct workload *state_client(const struct state *s, const char *uid, const char *account)
{
	const struct workload *w = state_pod(s, uid, account, 0);

	return w || !s->flags.is_alone ? w : of_account(hamt_get_str(s->t.stand_ins, uid), account);
}

bool state_is_synced(const struct state *s)
{
	return s->flags.is_synced;
}

bool state_is_registry_only(const struct state *s)
{
	return s->flags.is_registry_only;
}

struct workload_visit {
	int (*fn)(void *arg, const struct workload *w);
	void *arg;
};

static int on_workload(void *arg, const void *key _unused_, size_t key_len _unused_, void *value)
{
	struct workload_visit *visit = arg;

	return visit->fn(visit->arg, value);
}

int state_visit_workloads(const struct state *s, int (*fn)(void *arg, const struct workload *w),
			  void *arg)
{
	struct workload_visit visit = {.fn = fn, .arg = arg};

	return hamt_visit(s->t.workloads, on_workload, &visit);
}

struct service_visit {
	int (*fn)(void *arg, const struct service *v);
	void *arg;
};

static int on_service(void *arg, const void *key _unused_, size_t key_len _unused_, void *value)
{
	struct service_visit *visit = arg;

	return visit->fn(visit->arg, value);
}

struct port_search {
	const char *client_namespace;
	uint16_t port;
};

static int has_open_port(void *arg, const struct service *v)
{
	const struct port_search *search = arg;
	const struct service_def *d = v->def;

	for (size_t i = 0; i < d->open_ports_count; i++)
		if (d->open_ports[i] == search->port)
			return def_is_visible(d, search->client_namespace);
	return 0;
}

bool state_is_open_port(const struct state *s, uint16_t port, const char *client_namespace)
{
	struct port_search search = {.client_namespace = client_namespace, .port = port};

	return state_visit_services(s, has_open_port, &search) != 0;
}

int state_visit_services(const struct state *s, int (*fn)(void *arg, const struct service *v),
			 void *arg)
{
	struct service_visit visit = {.fn = fn, .arg = arg};

	return hamt_visit(s->t.services, on_service, &visit);
}

struct policy_visit {
	int (*fn)(void *arg, const struct policy *p);
	void *arg;
};

static int on_policy(void *arg, const void *key _unused_, size_t key_len _unused_, void *value)
{
	struct policy_visit *visit = arg;

	return visit->fn(visit->arg, value);
}

int state_visit_policies(const struct state *s, int (*fn)(void *arg, const struct policy *p),
			 void *arg)
{
	struct policy_visit visit = {.fn = fn, .arg = arg};

	return hamt_visit(s->t.policies, on_policy, &visit);
}

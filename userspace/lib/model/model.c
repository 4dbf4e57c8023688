/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/domains.h"
#include "model/enrol.h"
#include "model/alike.h"
#include "model/pack.h"
#include "model/telemetry.h"
#include "tls/spiffe.h"

static const char *const kind_names[] = {
	[ENTITY_NAMESPACE] = "Namespace",
	[ENTITY_NODE] = "Node",
	[ENTITY_POD] = "Pod",
	[ENTITY_SERVICE] = "Service",
	[ENTITY_SLICE] = "EndpointSlice",
	[ENTITY_PEER] = "PeerAuthentication",
	[ENTITY_POLICY] = "AuthorizationPolicy",
	[ENTITY_SERVICE_ENTRY] = "ServiceEntry",
	[ENTITY_WORKLOAD_GROUP] = "WorkloadGroup",
	[ENTITY_WORKLOAD_ENTRY] = "WorkloadEntry",
	[ENTITY_TELEMETRY] = "Telemetry",
};

static const size_t kind_sizes[] = {
	[ENTITY_NAMESPACE] = sizeof(struct entity),
	[ENTITY_NODE] = sizeof(struct entity),
	[ENTITY_POD] = sizeof(struct pod),
	[ENTITY_SERVICE] = sizeof(struct service),
	[ENTITY_SLICE] = sizeof(struct slice),
	[ENTITY_PEER] = sizeof(struct peer),
	[ENTITY_POLICY] = sizeof(struct policy),
	[ENTITY_SERVICE_ENTRY] = sizeof(struct service_entry),
	[ENTITY_WORKLOAD_GROUP] = sizeof(struct entity),
	[ENTITY_WORKLOAD_ENTRY] = sizeof(struct workload_entry),
	[ENTITY_TELEMETRY] = sizeof(struct telemetry),
};

/* Return: ENTITY_KIND_MAX: none of ours. */
static enum entity_kind kind_find(const char *name)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(kind_names) && !streq(kind_names[i], name))
		i++;
	return (enum entity_kind)i;
}

static void entity_key(char buf[MODEL_KEY_MAX], const char *namespace_, const char *name)
{
	(void)str_concat(buf, MODEL_KEY_MAX, namespace_, "/", name);
}

struct entity *entity_find(const struct model *m, enum entity_kind kind, const char *namespace_,
			   const char *name)
{
	char key[MODEL_KEY_MAX];

	entity_key(key, namespace_, name);
	return map_get_str(m->entities[kind], key);
}

void entity_mark(struct model *m, struct entity *e)
{
	if (list_is_empty(&e->dirty))
		list_add_tail(&m->dirty[e->kind], &e->dirty);
}

static void pods_mark_of(struct model *m, const struct index *ix, const char *key)
{
	pods_mark_bucket(m, index_find(ix, key));
}

/* Who may see its ServiceEntries goes by its labels where there are such rules, and with that who
 * has their hosts elsewhere; an annotation says how near their endpoints are to be. */
static void namespace_mark_entries(struct model *m, const char *ns)
{
	const struct index_link *l;

	index_for_each(l, index_find(&m->entries_by_namespace, ns))
	{
		if (m->entry_visibility)
			service_entry_mark_hosts(m, l->owner);
		else
			service_entry_mark(m, l->owner);
	}
}

/* Its labels enrol its pods, and Services say whether they select such; the annotation is about
 * their endpoints as well. */
static void namespace_mark(struct model *m, const char *ns)
{
	const struct index_link *l;

	pods_mark_of(m, &m->pods_by_namespace, ns);
	index_for_each(l, index_find(&m->services_by_namespace, ns))
		entity_mark(m, &((struct service *)l->owner)->e);
	namespace_mark_entries(m, ns);
}

/* Locality comes from nodes. */
static void node_mark(struct model *m, const char *node)
{
	const struct index_link *l;

	pods_mark_of(m, &m->pods_by_node, node);
	index_for_each(l, index_find(&m->slices_by_node, node))
		entity_mark(m, &((struct slice *)l->owner)->e);
}

/* Take an entity out of the indexes; everything that depended on it is marked. */
static void entity_unlink(struct model *m, struct entity *e)
{
	switch (e->kind) {
	case ENTITY_NAMESPACE:
		namespace_mark(m, e->object->name);
		break;
	case ENTITY_NODE:
		node_mark(m, e->object->name);
		output_unset(m, XDS_NODE, e->object->name);
		break;
	case ENTITY_POD:
		pod_unlink(m, (struct pod *)e);
		break;
	case ENTITY_SERVICE:
		service_unlink(m, (struct service *)e);
		break;
	case ENTITY_SLICE:
		slice_unlink(m, (struct slice *)e);
		break;
	case ENTITY_PEER:
		peer_unlink(m, (struct peer *)e);
		break;
	case ENTITY_POLICY:
		policy_unlink(m, (struct policy *)e);
		break;
	case ENTITY_SERVICE_ENTRY:
		service_entry_unlink(m, (struct service_entry *)e);
		break;
	case ENTITY_WORKLOAD_ENTRY:
		workload_entry_unlink(m, (struct workload_entry *)e);
		break;
	case ENTITY_WORKLOAD_GROUP:
		/* no memory: the next change of an entry finds its group gone */
		(void)!workload_group_change(m, e);
		break;
	case ENTITY_TELEMETRY:
		telemetry_unlink(m, (struct telemetry *)e);
		break;
	default:
		break;
	}
}

static int entity_link(struct model *m, struct entity *e)
{
	entity_mark(m, e);
	switch (e->kind) {
	case ENTITY_NAMESPACE:
		namespace_mark(m, e->object->name);
		return 0;
	case ENTITY_NODE:
		node_mark(m, e->object->name);
		return 0;
	case ENTITY_POD:
		return pod_link(m, (struct pod *)e);
	case ENTITY_SERVICE:
		return service_link(m, (struct service *)e);
	case ENTITY_SLICE:
		return slice_link(m, (struct slice *)e);
	case ENTITY_PEER:
		return peer_link(m, (struct peer *)e);
	case ENTITY_POLICY:
		return policy_link(m, (struct policy *)e);
	case ENTITY_SERVICE_ENTRY:
		return service_entry_link(m, (struct service_entry *)e);
	case ENTITY_WORKLOAD_ENTRY:
		return workload_entry_link(m, (struct workload_entry *)e);
	case ENTITY_WORKLOAD_GROUP:
		return workload_group_change(m, e);
	case ENTITY_TELEMETRY:
		return telemetry_link(m, (struct telemetry *)e);
	default:
		return 0;
	}
}

static int entity_flush(struct model *m, struct entity *e)
{
	switch (e->kind) {
	case ENTITY_NAMESPACE:
		report_waypoint(m, e->object);
		return 0;
	case ENTITY_NODE:
		return pack_node(m, e->object);
	case ENTITY_POD:
		return pod_flush(m, (struct pod *)e);
	case ENTITY_SERVICE:
		return service_flush(m, (struct service *)e);
	case ENTITY_SLICE:
		return slice_flush(m, (struct slice *)e);
	case ENTITY_PEER:
		return peer_flush(m, (struct peer *)e);
	case ENTITY_POLICY:
		return policy_flush(m, (struct policy *)e);
	case ENTITY_SERVICE_ENTRY:
		return service_entry_flush(m, (struct service_entry *)e);
	case ENTITY_WORKLOAD_ENTRY:
		return workload_entry_flush(m, (struct workload_entry *)e);
	case ENTITY_WORKLOAD_GROUP:
		return workload_group_flush(m, e);
	case ENTITY_TELEMETRY:
		return telemetry_flush(m, (struct telemetry *)e);
	default:
		return 0;
	}
}

static void entity_free(struct entity *e)
{
	list_del(&e->dirty);
	(void)object_unref(e->object);
	free(e);
}

static struct entity *entity_new(enum entity_kind kind, const char *key, struct object *o)
{
	struct entity *e = calloc(1, kind_sizes[kind]);

	if (!e)
		return NULL;
	e->kind = kind;
	e->key = key;
	list_init(&e->dirty);
	if (kind == ENTITY_SLICE)
		list_init(&((struct slice *)e)->outputs);
	if (kind == ENTITY_SERVICE_ENTRY)
		list_init(&((struct service_entry *)e)->outputs);
	e->object = object_ref(o);
	return e;
}

int model_put(struct model *m, struct object *obj)
{
	enum entity_kind kind = kind_find(obj->kind);
	char buf[MODEL_KEY_MAX];
	const char *key;
	struct object *old;
	struct entity *e;
	void **at;

	if (kind == ENTITY_KIND_MAX)
		return 0;
	entity_key(buf, obj->namespace_, obj->name);
	at = map_at_str(m->entities[kind], buf, &key);
	if (!at)
		return -ENOMEM;
	e = *at;
	if (!e) {
		*at = e = entity_new(kind, key, obj);
		if (e)
			return entity_link(m, e);
		(void)map_del_str(m->entities[kind], buf);
		return -ENOMEM;
	}
	entity_unlink(m, e);
	old = e->object;
	e->object = object_ref(obj);
	(void)object_unref(old);
	return entity_link(m, e);
}

int model_delete(struct model *m, const struct object *obj)
{
	enum entity_kind kind = kind_find(obj->kind);
	char key[MODEL_KEY_MAX];
	struct entity *e;

	if (kind == ENTITY_KIND_MAX)
		return 0;
	entity_key(key, obj->namespace_, obj->name);
	e = map_del_str(m->entities[kind], key);
	if (!e)
		return 0;
	e->key = key; /* the map's went with its entry */
	entity_unlink(m, e);
	report_clear(m, e);
	entity_free(e);
	return 0;
}

int model_set_registry_only(struct model *m, bool is_registry_only)
{
	bool before = m->is_registry_only;

	if (before == is_registry_only)
		return 0;
	m->is_registry_only = is_registry_only;
	map_for_each (m->entities[ENTITY_SERVICE_ENTRY], it) {
		struct entity *e = it.value;

		entity_unlink(m, e);
		if (entity_link(m, e) < 0) {
			m->is_registry_only = before;
			return -ENOMEM;
		}
	}
	return 0;
}

static int flush_kind(struct model *m, enum entity_kind kind)
{
	while (!list_is_empty(&m->dirty[kind])) {
		struct entity *e = list_entry(m->dirty[kind].next, struct entity, dirty);
		int r;

		report_begin(m);
		r = entity_flush(m, e);
		if (r < 0)
			return r;
		report_commit(m, e);
		list_del(&e->dirty);
	}
	return 0;
}

int model_flush(struct model *m)
{
	/* Policies before the workloads that name them: one that is named and unknown is skipped by
	 * ztunnels. */
	static const enum entity_kind order[] = {
		ENTITY_NAMESPACE,
		ENTITY_NODE,
		ENTITY_PEER,
		ENTITY_POLICY,
		ENTITY_SERVICE,
		ENTITY_SLICE,
		ENTITY_SERVICE_ENTRY,
		ENTITY_WORKLOAD_GROUP,
		ENTITY_WORKLOAD_ENTRY,
		ENTITY_TELEMETRY,
		ENTITY_POD,
	};
	int r;

	r = static_strict_flush(m);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		r = flush_kind(m, order[i]);
		if (r < 0)
			break;
	}
	alike_end(m);
	if (r == 0)
		output_sweep(m);
	return r;
}

bool model_has_identity_on_node(const struct model *m, const char *spiffe, const char *node)
{
	const struct index_link *l;
	struct spiffe_id id;

	if (spiffe_parse(spiffe, &id) < 0 || !streq(id.trust_domain, m->trust_domain))
		return false;
	/* a walk through one node's pods for each certificate is less than a filing of each pod */
	index_for_each(l, index_find(&m->pods_by_node, node))
	{
		const struct pod *p = l->owner;

		if (!p->facts->has_ended && streq(p->e.object->namespace_, id.namespace_) &&
		    streq(p->facts->service_account, id.service_account))
			return true;
	}
	return false;
}

bool pod_is_enrolled(const struct model *m, const struct object *pod)
{
	const struct entity *ns = entity_find(m, ENTITY_NAMESPACE, "", pod->namespace_);

	return enrol_is_yes(enrol_decide(pod, ns ? ns->object : NULL).verdict);
}

const struct pod_facts *model_find_pod(const struct model *m, const char *namespace_,
				       const char *name)
{
	const struct entity *e = entity_find(m, ENTITY_POD, namespace_, name);

	return e ? ((const struct pod *)e)->facts : NULL;
}

int model_pods_on_node(const struct model *m, const char *node,
		       int (*fn)(void *arg, const struct model_pod *pod), void *arg)
{
	const struct index_bucket *b = index_find(&m->pods_by_node, node);
	const struct index_link *l;

	index_for_each(l, b)
	{
		const struct pod *p = l->owner;
		const struct object *o = p->e.object;
		struct model_pod pod = {
			.pod = o,
			.namespace_ = o->namespace_,
			.name = o->name,
			.service_account = p->facts->service_account,
			.node = node,
			.is_enrolled = pod_is_enrolled(m, o),
			.is_ready = p->facts->is_ready,
			.has_ended = p->facts->has_ended,
		};
		int r = fn(arg, &pod);

		if (r != 0)
			return r;
	}
	return 0;
}

/* Stops at the first: @arg the model. */
static bool is_enrolled(void *arg, struct pod *pod)
{
	return !pod->facts->has_ended && pod_is_enrolled(arg, pod->e.object);
}

bool model_has_workloads(const struct model *m, const char *namespace_, const json_t *match_labels)
{
	return selector_pods_scope(m, namespace_, match_labels, is_enrolled, (void *)(uintptr_t)m);
}

/* All of them. */
#define INDEXES(m)                                                                                 \
	{                                                                                          \
		&(m)->pods_by_namespace, &(m)->pods_by_node, &(m)->pods_by_addr,                   \
			&(m)->pods_by_label, &(m)->services_by_label, &(m)->policies_by_label,     \
			&(m)->root_policies, &(m)->peers_by_label, &(m)->peers_wide,               \
			&(m)->services_by_namespace, &(m)->slices_by_service,                      \
			&(m)->slices_by_node, &(m)->entries_by_host, &(m)->entries_by_label,       \
			&(m)->entries_by_addr, &(m)->entries_by_namespace, &(m)->workload_entries, \
			&(m)->telemetries, &(m)->endpoints_by_target,                              \
	}

static void indexes_each(struct model *m, void (*fn)(struct index *ix))
{
	struct index *const all[] = INDEXES(m);

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		fn(all[i]);
}

static void index_init_quietly(struct index *ix)
{
	if (index_init(ix) < 0)
		ix->buckets = NULL;
}

static int indexes_init(struct model *m)
{
	struct index *const all[] = INDEXES(m);
	struct index *last = &m->endpoints_by_target;
	bool is_complete = true;

	indexes_each(m, index_init_quietly);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		is_complete &= all[i]->buckets != NULL;
	if (is_complete)
		return 0;
	if (last->buckets)
		index_done(last);
	return -ENOMEM;
}

static char *copy_or(const char *s, const char *fallback)
{
	return strdup(s ? s : fallback);
}

static int config_copy(struct model *m, const struct model_config *config)
{
	m->cluster_id = copy_or(config->cluster_id, "Kubernetes");
	m->trust_domain = copy_or(config->trust_domain, "cluster.local");
	m->root_namespace = copy_or(config->root_namespace, "istio-system");
	m->cluster_domain = copy_or(config->cluster_domain, "cluster.local");
	return m->cluster_id && m->trust_domain && m->root_namespace && m->cluster_domain ? 0
											  : -ENOMEM;
}

int model_new(const struct model_ops *ops, void *arg, const struct model_config *config,
	      struct model **ret)
{
	_cleanup_(model_freep) struct model *m = NULL;
	int r;

	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->ops = ops;
	m->arg = arg;
	list_init(&m->unset);
	for (int i = 0; i < ENTITY_KIND_MAX; i++)
		list_init(&m->dirty[i]);
	for (int i = 0; i < ENTITY_KIND_MAX; i++) {
		r = map_new(&m->entities[i]);
		if (r < 0)
			return r;
	}
	for (int i = 0; i < XDS_TYPE_MAX; i++) {
		r = map_new(&m->outputs[i]);
		if (r < 0)
			return r;
	}
	r = map_new(&m->alikes);
	if (r < 0)
		return r;
	r = config_copy(m, config ? config : &(struct model_config){0});
	if (r < 0)
		return r;
	r = vip_pool_init(&m->vips);
	if (r < 0)
		return r;
	m->vips.on_moved = service_entries_mark_moved;
	m->vips.arg = m;
	r = indexes_init(m);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

/* Two passes: taking one entity out looks at others. */
static void entities_free(struct model *m)
{
	for (int i = 0; i < ENTITY_KIND_MAX; i++)
		if (m->entities[i])
			map_for_each (m->entities[i], it)
				entity_unlink(m, it.value);
	for (int i = 0; i < ENTITY_KIND_MAX; i++) {
		if (m->entities[i])
			map_for_each (m->entities[i], it)
				entity_free(it.value);
		m->entities[i] = map_free(m->entities[i]);
	}
}

struct model *model_free(struct model *m)
{
	if (!m)
		return NULL;
	/* A half-built model has no entities, and perhaps no indexes. */
	if (m->endpoints_by_target.buckets)
		entities_free(m);
	for (int i = 0; i < ENTITY_KIND_MAX; i++)
		m->entities[i] = map_free(m->entities[i]);
	outputs_free(m);
	indexes_each(m, index_done);
	m->alikes = map_free(m->alikes);
	vip_pool_done(&m->vips);
	domains_free(m);
	json_decref(m->entry_visibility);
	free(m->cluster_id);
	free(m->trust_domain);
	free(m->root_namespace);
	free(m->cluster_domain);
	free(m);
	return NULL;
}

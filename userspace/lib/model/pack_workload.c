/* SPDX-License-Identifier: Apache-2.0 */
/* pack_workload - a Pod, or an address of an EndpointSlice, as istio.workload.Workload. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/alike.h"
#include "model/pack.h"
#include "model/telemetry.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"

typedef Istio__Workload__Workload workload_msg;
typedef Istio__Workload__WorkloadService workload_service_msg;

/** struct gather - the services of a pod in the making. */
struct gather {
	const struct model *m;
	const struct pod *pod;
	struct scratch *a;
	workload_msg *msg;
	int r;
};

int pack_addresses(workload_msg *msg, const struct cv_addr *addrs, size_t n, struct scratch *a)
{
	msg->addresses = scratch_alloc(a, n * sizeof(*msg->addresses) + 1);
	if (!msg->addresses)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		uint8_t *bytes = scratch_alloc(a, 16);

		if (!bytes)
			return -ENOMEM;
		msg->addresses[i].len = cv_addr_bytes(&addrs[i], bytes);
		msg->addresses[i].data = bytes;
		msg->n_addresses++;
	}
	return 0;
}

/* Room for one more: grown to each power of two. */
static int services_reserve(workload_msg *msg, struct scratch *a)
{
	size_t n = msg->n_services;
	workload_service_msg **grown;

	if (n & (n - 1) || n == 1)
		return 0;
	grown = scratch_alloc(a, MAX(n * 2, 2U) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	if (n)
		memcpy(grown, msg->services, n * sizeof(*grown));
	msg->services = grown;
	return 0;
}

static bool is_same_port(const Istio__Workload__Port *a, const Istio__Workload__Port *b)
{
	return a->service_port == b->service_port && a->target_port == b->target_port;
}

static bool is_same_list(const Istio__Workload__PortList *a, const struct port_list *b)
{
	if (a->n_ports != b->count)
		return false;
	for (size_t i = 0; i < b->count; i++)
		if (!is_same_port(a->ports[i], b->ports[i]))
			return false;
	return true;
}

static int port_compare(const void *a, const void *b)
{
	const Istio__Workload__Port *const *x = a, *const *y = b;

	if ((*x)->service_port != (*y)->service_port)
		return (*x)->service_port < (*y)->service_port ? -1 : 1;
	return (*x)->target_port < (*y)->target_port ? -1 : (*x)->target_port > (*y)->target_port;
}

/* Both's ports in the order of their numbers, whichever came first; of two places that one leads to
 * the lower, since a client takes one. */
static int ports_merge(Istio__Workload__PortList *to, const struct port_list *more,
		       struct scratch *a)
{
	size_t n = to->n_ports + more->count, kept = 0;
	Istio__Workload__Port **all = scratch_alloc(a, (n + 1) * sizeof(*all));

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		all[i] = i < to->n_ports ? to->ports[i] : more->ports[i - to->n_ports];
	qsort(all, n, sizeof(*all), port_compare);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || all[kept - 1]->service_port != all[i]->service_port)
			all[kept++] = all[i];
	to->ports = all;
	to->n_ports = kept;
	return 0;
}

int pack_serves(workload_msg *to, const char *key, const struct port_list *ports, struct scratch *a)
{
	workload_service_msg *msg = scratch_alloc(a, sizeof(*msg));
	Istio__Workload__PortList *list = scratch_alloc(a, sizeof(*list));

	/* A service's slices of both families name one pod twice, and so may slices of different
	 * ports. */
	for (size_t i = 0; i < to->n_services; i++)
		if (streq(to->services[i]->key, key))
			return is_same_list(to->services[i]->value, ports)
				       ? 0
				       : ports_merge(to->services[i]->value, ports, a);
	if (!msg || !list || services_reserve(to, a) < 0)
		return -ENOMEM;
	istio__workload__workload_service__init(msg);
	istio__workload__port_list__init(list);
	list->ports = ports->ports;
	list->n_ports = ports->count;
	msg->key = (char *)(uintptr_t)key;
	msg->value = list;
	to->services[to->n_services++] = msg;
	return 0;
}

static int services_add(struct gather *g, const struct service *s, const struct port_list *ports)
{
	const char *key = pack_service_key(g->m, s->e.object, g->a);

	return key ? pack_serves(g->msg, key, ports, g->a) : -ENOMEM;
}

static void gather_entry(struct gather *g, const struct service_entry *s)
{
	const struct object *o = s->e.object;
	struct port_list ports;

	if (g->r < 0 || service_entry_is_hidden(g->m, s))
		return;
	g->r = pack_entry_pod_ports(s, g->pod->facts, g->a, &ports);
	for (size_t i = 0; i < s->hosts_count; i++) {
		const char *host = s->hosts[i].name, *key;

		if (g->r < 0 || service_entry_rival(g->m, s, host))
			continue;
		key = scratch_concat(g->a, o->namespace_, "/", host);
		g->r = key ? pack_serves(g->msg, key, &ports, g->a) : -ENOMEM;
	}
}

static void gather_selected(struct gather *g, const struct alike_service *s)
{
	struct port_list ports = s->ports;

	if (g->r == 0 && s->is_by_pod)
		g->r = pack_pod_ports(s->object, g->pod->facts, g->a, &ports);
	if (g->r == 0)
		g->r = pack_serves(g->msg, s->key, &ports, g->a);
}

static void gather_slice(struct gather *g, const struct slice *slice, const struct endpoint *e)
{
	const struct service *s = slice_service(g->m, slice);
	struct port_list ports;

	if (g->r < 0 || !s || service_is_external(s->e.object))
		return;
	if (!e->is_ready &&
	    !json_is_true(object_value(s->e.object, "spec.publishNotReadyAddresses")))
		return;
	g->r = pack_slice_ports(s->e.object, slice->e.object, g->a, &ports);
	if (g->r == 0)
		g->r = services_add(g, s, &ports);
}

static void gather_target(struct gather *g, const char *key)
{
	const struct index_link *l;

	index_for_each(l, index_find(&g->m->endpoints_by_target, key))
		gather_slice(g, l->owner, container_of(l, struct endpoint, link));
}

static int service_compare(const void *a, const void *b)
{
	const workload_service_msg *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

/* One order for one content, whatever order things came in. */
void pack_sort_services(workload_msg *msg)
{
	if (msg->n_services)
		qsort(msg->services, msg->n_services, sizeof(*msg->services), service_compare);
}

static int add_services(const struct model *m, const struct pod *p, const struct alike *alike,
			workload_msg *msg, struct scratch *a)
{
	struct gather g = {.m = m, .pod = p, .a = a, .msg = msg};
	bool has_slices = map_count(m->endpoints_by_target.buckets) > 0;
	char key[MODEL_KEY_MAX];

	for (size_t i = 0; i < alike->services_count; i++)
		gather_selected(&g, &alike->services[i]);
	for (size_t i = 0; i < alike->entries_count; i++)
		gather_entry(&g, alike->entries[i]);
	if (has_slices) {
		pod_key(key, p);
		gather_target(&g, key);
	}
	for (size_t i = 0; has_slices && i < p->facts->addrs_count && !p->facts->is_host_network;
	     i++) {
		addr_key(key, &p->facts->addrs[i]);
		gather_target(&g, key);
	}
	pack_sort_services(msg);
	return g.r;
}

/* "<cronjob>-<digits>" is how a CronJob names its Jobs. Return: the length of <cronjob>; 0. */
static size_t cron_job_length(const char *job)
{
	const char *dash = strrchr(job, '-');
	size_t n = dash ? strspn(dash + 1, "0123456789") : 0;

	return n >= 8 && n <= 10 && dash[1 + n] == '\0' ? (size_t)(dash - job) : 0;
}

/* "<name>-<hash of its template>" is how a Deployment or Rollout names its ReplicaSets. Return: the
 * length of <name>; 0. */
static size_t template_owner_length(const char *set, const char *hash)
{
	size_t n = strlen(set), hash_len = hash ? strlen(hash) : 0;

	if (hash_len == 0 || n <= hash_len + 1 || !str_has_suffix(set, hash) ||
	    set[n - hash_len - 1] != '-')
		return 0;
	return n - hash_len - 1;
}

/* Argo's Rollouts have no type of their own, as from Istio. */
static void replica_set_owner(const struct pod *p, workload_msg *msg, struct scratch *a)
{
	const struct object *o = p->e.object;
	const char *set = p->facts->owner_name;
	size_t n = template_owner_length(set, object_label(o, "pod-template-hash"));

	if (n)
		msg->workload_type = ISTIO__WORKLOAD__WORKLOAD_TYPE__DEPLOYMENT;
	else
		n = template_owner_length(set, object_label(o, "rollouts-pod-template-hash"));
	if (n)
		msg->workload_name = scratch_format(a, "%.*s", (int)n, set);
}

static void job_owner(const struct pod *p, workload_msg *msg, struct scratch *a)
{
	const char *job = p->facts->owner_name;
	size_t n = cron_job_length(job);

	msg->workload_type =
		n ? ISTIO__WORKLOAD__WORKLOAD_TYPE__CRONJOB : ISTIO__WORKLOAD__WORKLOAD_TYPE__JOB;
	if (n)
		msg->workload_name = scratch_format(a, "%.*s", (int)n, job);
}

static void workload_owner(const struct pod *p, workload_msg *msg, struct scratch *a)
{
	const char *kind = p->facts->owner_kind, *name = p->facts->owner_name;
	const char *config = object_label(p->e.object, "deploymentconfig");

	msg->workload_type = ISTIO__WORKLOAD__WORKLOAD_TYPE__POD;
	msg->workload_name = (char *)(*name ? name : p->e.object->name);
	if (!*name)
		return;
	if (streq(kind, "Deployment"))
		msg->workload_type = ISTIO__WORKLOAD__WORKLOAD_TYPE__DEPLOYMENT;
	else if (streq(kind, "ReplicaSet"))
		replica_set_owner(p, msg, a);
	else if (streq(kind, "ReplicationController") && config && *config) /* OpenShift's */
		msg->workload_name = (char *)(uintptr_t)config;
	else if (streq(kind, "Job"))
		job_owner(p, msg, a);
}

static const char *first_label(const json_t *labels, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_object_get(labels, keys[i]));

		if (s && *s)
			return s;
	}
	return NULL;
}

const char *pack_workload_name(const json_t *labels)
{
	static const char *const names[] = {"service.istio.io/workload-name"};

	return first_label(labels, names, ARRAY_SIZE(names));
}

const char *pack_canonical_name(const json_t *labels)
{
	static const char *const names[] = {"service.istio.io/canonical-name",
					    "app.kubernetes.io/name", "app"};

	return first_label(labels, names, ARRAY_SIZE(names));
}

const char *pack_canonical_revision(const json_t *labels)
{
	static const char *const revisions[] = {
		"service.istio.io/canonical-revision",
		"app.kubernetes.io/version",
		"version",
	};
	const char *s = first_label(labels, revisions, ARRAY_SIZE(revisions));

	return s ? s : "latest";
}

void pack_canonical_names(const json_t *labels, workload_msg *msg)
{
	const char *name = pack_canonical_name(labels);

	msg->canonical_name = name ? (char *)(uintptr_t)name : msg->workload_name;
	msg->canonical_revision = (char *)(uintptr_t)pack_canonical_revision(labels);
}

static char *label_or_empty(const struct object *o, const char *key, const char *older)
{
	const char *s = object_label(o, key);

	if (!s && older)
		s = object_label(o, older);
	return s ? (char *)s : (char *)protobuf_c_empty_string;
}

static int set_locality(const struct model *m, const char *node, workload_msg *msg,
			struct scratch *a)
{
	const struct entity *e = node ? entity_find(m, ENTITY_NODE, "", node) : NULL;
	Istio__Workload__Locality *l;

	if (!e)
		return 0;
	l = scratch_alloc(a, sizeof(*l));
	if (!l)
		return -ENOMEM;
	istio__workload__locality__init(l);
	l->region = label_or_empty(e->object, "topology.kubernetes.io/region",
				   "failure-domain.beta.kubernetes.io/region");
	l->zone = label_or_empty(e->object, "topology.kubernetes.io/zone",
				 "failure-domain.beta.kubernetes.io/zone");
	l->subzone = label_or_empty(e->object, "topology.istio.io/subzone", NULL);
	if (*l->region || *l->zone || *l->subzone)
		msg->locality = l;
	return 0;
}

/* For "<hostname>.<subdomain>" in DNS, as the pods of a StatefulSet have it. */
static void set_dns_name(const char *hostname, const char *subdomain, Culvert__Node__Workload *x)
{
	if (!hostname || !*hostname || !subdomain || !*subdomain)
		return;
	x->hostname = (char *)(uintptr_t)hostname;
	x->subdomain = (char *)(uintptr_t)subdomain;
}

static int set_extension(const Culvert__Node__Workload *x, workload_msg *msg, struct scratch *a)
{
	if (!*x->hostname && !x->client && !x->server && !x->incarnation && !x->n_host_ports)
		return 0;
	return pack_extension(XDS_EXTENSION_WORKLOAD, &x->base, a, &msg->extensions,
			      &msg->n_extensions);
}

static void tunnel_of(const struct model *m, const struct pod *p, const struct alike *alike,
		      workload_msg *msg)
{
	const struct object *o = p->e.object;
	const char *native = object_label(o, "networking.istio.io/tunnel");
	bool is_plain = !o->annotations && !p->facts->is_host_network;

	msg->native_tunnel = native && streq(native, "http");
	if (msg->native_tunnel || (is_plain ? alike->is_enrolled : pod_is_enrolled(m, o)))
		msg->tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
}

static void set_alike(const struct alike *alike, workload_msg *msg)
{
	msg->canonical_name = alike->canonical_name ? (char *)(uintptr_t)alike->canonical_name
						    : msg->workload_name;
	msg->canonical_revision = (char *)(uintptr_t)alike->canonical_revision;
	msg->authorization_policies = alike->policies;
	msg->n_authorization_policies = alike->policies_count;
}

static int pod_fill(struct model *m, const struct pod *p, workload_msg *msg, struct scratch *a)
{
	const struct alike *alike = alike_get(m, p);
	Culvert__Node__Workload extension = CULVERT__NODE__WORKLOAD__INIT;
	const struct pod_facts *f = p->facts;
	const struct object *o = p->e.object;
	const char *own_name;
	int r;

	if (!alike)
		return -ENOMEM;
	msg->uid = scratch_concat(a, m->cluster_id, "//Pod/", o->namespace_, "/", o->name);
	msg->name = (char *)o->name;
	msg->namespace_ = (char *)o->namespace_;
	msg->cluster_id = m->cluster_id;
	if (!streq(m->trust_domain, "cluster.local"))
		msg->trust_domain = m->trust_domain;
	msg->service_account = (char *)f->service_account;
	msg->node = (char *)f->node;
	if (f->is_host_network)
		msg->network_mode = ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	if (!f->is_ready)
		msg->status = ISTIO__WORKLOAD__WORKLOAD_STATUS__UNHEALTHY;
	tunnel_of(m, p, alike, msg);
	workload_owner(p, msg, a);
	own_name = pack_workload_name(o->labels);
	if (own_name)
		msg->workload_name = (char *)(uintptr_t)own_name;
	set_alike(alike, msg);
	r = set_locality(m, f->node, msg, a);
	if (r < 0)
		return r;
	set_dns_name(f->hostname, f->subdomain, &extension);
	extension.incarnation = pod_incarnation(f->uid);
	r = pod_telemetry(m, p, &extension, a);
	if (r == 0)
		r = pack_host_ports(m, f, &extension, a);
	if (r == 0)
		r = set_extension(&extension, msg, a);
	if (r < 0)
		return r;
	r = pack_addresses(msg, f->addrs, f->addrs_count, a);
	if (r == 0 && f->addrs_count) /* else it serves none yet */
		r = add_services(m, p, alike, msg, a);
	return r < 0 ? r : a->error;
}

workload_msg *pack_workload_new(struct scratch *a, const ProtobufCMessage **ret)
{
	Istio__Workload__Address *address = scratch_alloc(a, sizeof(*address));
	workload_msg *msg = scratch_alloc(a, sizeof(*msg));

	if (!address || !msg)
		return NULL;
	istio__workload__address__init(address);
	istio__workload__workload__init(msg);
	address->type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	address->workload = msg;
	*ret = &address->base;
	return msg;
}

/* A CNI leads hostPorts to a pod from its start on, the kubelet tells its addresses a second or two
 * later: at its node's addresses they are the mesh's before it has one of its own. */
static bool is_told(const struct pod *p, const workload_msg *msg)
{
	return p->facts->addrs_count ||
	       msg->tunnel_protocol == ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
}

int pod_flush(struct model *m, struct pod *p)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	const ProtobufCMessage *packed;
	workload_msg *msg;
	int r;

	if (!p->facts || p->facts->has_ended ||
	    (p->facts->addrs_count == 0 && (p->facts->host_ports_count == 0 || !*p->facts->node)))
		return 0;
	msg = pack_workload_new(&a, &packed);
	if (!msg)
		return -ENOMEM;
	r = pod_fill(m, p, msg, &a);
	if (r < 0)
		return r;
	if (is_told(p, msg))
		return output_set(m, XDS_ADDRESS, msg->uid, packed);
	output_unset(m, XDS_ADDRESS, msg->uid);
	return 0;
}

/* What a slice says of one endpoint besides its addresses. */
static int endpoint_place(const struct model *m, const struct slice *s, const struct endpoint *e,
			  workload_msg *msg, struct scratch *a)
{
	const json_t *one = json_array_get(object_value(s->e.object, "endpoints"), e->position);
	const char *node = json_string_value(json_object_get(one, "nodeName"));
	const char *zone = json_string_value(json_object_get(one, "zone"));
	Culvert__Node__Workload extension = CULVERT__NODE__WORKLOAD__INIT;
	int r;

	if (node)
		msg->node = (char *)(uintptr_t)node;
	r = set_locality(m, node, msg, a);
	if (r < 0)
		return r;
	if (zone && !msg->locality) {
		msg->locality = scratch_alloc(a, sizeof(*msg->locality));
		if (!msg->locality)
			return -ENOMEM;
		istio__workload__locality__init(msg->locality);
		msg->locality->zone = (char *)(uintptr_t)zone;
	}
	set_dns_name(json_string_value(json_object_get(one, "hostname")),
		     object_label(s->e.object, SERVICE_NAME_LABEL), &extension);
	return set_extension(&extension, msg, a);
}

const ProtobufCMessage *pack_endpoint(const struct model *m, const struct slice *s,
				      const struct endpoint *e, const char *uid, struct scratch *a)
{
	const struct service *service = slice_service(m, s);
	struct gather g = {.m = m, .a = a};
	const ProtobufCMessage *packed;
	struct port_list ports;

	g.msg = pack_workload_new(a, &packed);
	if (!g.msg)
		return NULL;
	g.msg->uid = (char *)uid;
	g.msg->name = (char *)s->e.object->name;
	g.msg->namespace_ = (char *)s->e.object->namespace_;
	g.msg->cluster_id = m->cluster_id;
	/* No pod answers for this address: it is nobody's identity and no policy's subject. */
	g.msg->network_mode = ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	g.msg->workload_type = ISTIO__WORKLOAD__WORKLOAD_TYPE__POD;
	if (pack_addresses(g.msg, &e->addr, 1, a) < 0 || endpoint_place(m, s, e, g.msg, a) < 0 ||
	    pack_slice_ports(service->e.object, s->e.object, a, &ports) < 0 ||
	    services_add(&g, service, &ports) < 0)
		return NULL;
	return packed;
}

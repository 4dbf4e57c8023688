/* SPDX-License-Identifier: Apache-2.0 */
/* pack_entry - ServiceEntries and WorkloadEntries as istio.workload messages. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/str.h"
#include "model/pack.h"
#include "net/cidr.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "xds/types.h"

typedef Istio__Workload__Service service_msg;
typedef Istio__Workload__Workload workload_msg;

static Istio__Workload__Port__AppProtocol app_protocol(const char *s)
{
	static const struct {
		const char *word;
		Istio__Workload__Port__AppProtocol value;
	} words[] = {
		{"HTTP", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__HTTP11},
		{"HTTP2", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__HTTP2},
		{"GRPC", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__GRPC},
		{"TCP", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TCP},
		{"TLS", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TLS},
		{"HTTPS", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TLS},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(words[i].word, s) == 0)
			return words[i].value;
	return ISTIO__WORKLOAD__PORT__APP_PROTOCOL__UNKNOWN;
}

/* The endpoint's own number for a port of that name, else the entry's targetPort, else the number
 * itself. */
static uint32_t target_of(const json_t *port, const json_t *entry, const struct pod_facts *pod)
{
	const char *name = json_text(port, "name", "");
	const json_t *own = json_object_get(json_object_get(entry, "ports"), name);
	uint16_t of_pod = pod && *name ? pod_facts_port(pod, name) : 0;

	if (of_pod)
		return of_pod;
	if (!own)
		own = json_object_get(port, "targetPort");
	return (uint32_t)json_integer_value(own ? own : json_object_get(port, "number"));
}

/* One of @entry and @pod is NULL, or both are. */
static int ports_fill(const struct service_entry *s, const json_t *entry,
		      const struct pod_facts *pod, struct scratch *a, struct port_list *ret)
{
	const json_t *ports = object_value(s->e.object, "spec.ports"), *one;
	size_t i;

	ret->count = 0;
	ret->ports = scratch_alloc(a, (json_array_size(ports) + 1) * sizeof(*ret->ports));
	if (!ret->ports)
		return -ENOMEM;
	json_array_foreach (ports, i, one) {
		Istio__Workload__Port *p = scratch_alloc(a, sizeof(*p));

		if (!p)
			return -ENOMEM;
		if (strcasecmp(json_text(one, "protocol", ""), "UDP") == 0)
			continue;
		istio__workload__port__init(p);
		p->service_port = (uint32_t)json_integer_value(json_object_get(one, "number"));
		p->target_port = target_of(one, entry, pod);
		p->app_protocol = app_protocol(json_text(one, "protocol", ""));
		ret->ports[ret->count++] = p;
	}
	return 0;
}

int pack_entry_ports(const struct service_entry *s, const json_t *entry, struct scratch *a,
		     struct port_list *ret)
{
	return ports_fill(s, entry, NULL, a, ret);
}

int pack_entry_pod_ports(const struct service_entry *s, const struct pod_facts *pod,
			 struct scratch *a, struct port_list *ret)
{
	return ports_fill(s, NULL, pod, a, ret);
}

static int add_address(service_msg *msg, const struct cidr *c, struct scratch *a)
{
	Istio__Workload__NetworkAddress *n = scratch_alloc(a, sizeof(*n));
	uint8_t *bytes = scratch_alloc(a, 16);

	if (!n || !bytes)
		return -ENOMEM;
	istio__workload__network_address__init(n);
	n->address.len = cv_addr_bytes(&c->addr, bytes);
	n->address.data = bytes;
	if (c->len < 128) {
		n->prefix_case = ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH;
		n->length = n->address.len == 4 ? c->len - 96U : c->len;
	}
	msg->addresses[msg->n_addresses++] = n;
	return 0;
}

static int set_addresses(const struct model *m, const struct service_entry *s, size_t host,
			 service_msg *msg, struct scratch *a)
{
	const json_t *list = object_value(s->e.object, "spec.addresses"), *one;
	struct cidr vips[2], c;
	size_t i;
	int r = 0;

	msg->addresses = scratch_alloc(a, (json_array_size(list) + 2) * sizeof(*msg->addresses));
	if (!msg->addresses)
		return -ENOMEM;
	json_array_foreach (list, i, one)
		if (r == 0 && cidr_parse(json_string_value(one), &c) == 0)
			r = add_address(msg, &c, a);
	if (r < 0 || !s->hosts[host].has_vip || vip_addrs(&m->vips, msg->hostname, vips) < 0)
		return r;
	for (i = 0; i < 2 && r == 0; i++)
		r = add_address(msg, &vips[i], a);
	return r;
}

static int set_sans(const struct object *o, service_msg *msg, struct scratch *a)
{
	const json_t *list = object_value(o, "spec.subjectAltNames"), *one;
	size_t i;

	msg->subject_alt_names =
		scratch_alloc(a, (json_array_size(list) + 1) * sizeof(*msg->subject_alt_names));
	if (!msg->subject_alt_names)
		return -ENOMEM;
	json_array_foreach (list, i, one)
		msg->subject_alt_names[msg->n_subject_alt_names++] =
			(char *)(uintptr_t)json_string_value(one);
	return 0;
}

/* What is not balanced goes where it was going. */
static int set_load_balancing(const struct model *m, const struct service_entry *s,
			      service_msg *msg, struct scratch *a)
{
	Istio__Workload__LoadBalancing *lb = scratch_alloc(a, sizeof(*lb));

	if (!lb)
		return -ENOMEM;
	istio__workload__load_balancing__init(lb);
	if (service_entry_is_balanced(s))
		pack_distribution(m, s->e.object, lb);
	else
		lb->mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH;
	if (lb->mode != ISTIO__WORKLOAD__LOAD_BALANCING__MODE__UNSPECIFIED_MODE)
		msg->load_balancing = lb;
	return 0;
}

/* Open: its names have addresses of ours; its TCP ports are open to any other address
 * nevertheless. */
static int set_extension(struct model *m, const struct service_entry *s, service_msg *msg,
			 struct scratch *a)
{
	Culvert__Node__Service x = CULVERT__NODE__SERVICE__INIT;

	x.is_open = s->is_named_instead;
	x.is_first = service_entry_first(m, msg->hostname) == s;
	if (!x.is_open && !x.is_first)
		return 0;
	return pack_extension(XDS_EXTENSION_SERVICE, &x.base, a, &msg->extensions,
			      &msg->n_extensions);
}

static int emit_service(struct model *m, struct service_entry *s, size_t i)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	Istio__Workload__Address address = ISTIO__WORKLOAD__ADDRESS__INIT;
	service_msg msg = ISTIO__WORKLOAD__SERVICE__INIT;
	const struct object *o = s->e.object;
	struct port_list ports = {0};
	char name[MODEL_KEY_MAX];
	int r;

	msg.name = (char *)(uintptr_t)o->name;
	msg.namespace_ = (char *)(uintptr_t)o->namespace_;
	msg.hostname = s->hosts[i].name;
	r = set_extension(m, s, &msg, &a);
	if (r == 0)
		r = service_entry_pack_visibility(m, s, &msg, &a);
	if (r == 0)
		r = set_addresses(m, s, i, &msg, &a);
	if (r == 0)
		r = set_sans(o, &msg, &a);
	if (r == 0)
		r = set_load_balancing(m, s, &msg, &a);
	if (r == 0)
		r = pack_entry_ports(s, NULL, &a, &ports);
	if (r < 0)
		return r;
	msg.ports = ports.ports;
	msg.n_ports = ports.count;
	address.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	address.service = &msg;
	(void)snprintf(name, sizeof(name), "%s/%s", o->namespace_, msg.hostname);
	return service_entry_output(m, s, name, &address.base);
}

/* "region/zone/subzone" */
static int set_locality(const char *text, workload_msg *msg, struct scratch *a)
{
	Istio__Workload__Locality *l = scratch_alloc(a, sizeof(*l));
	size_t region = strcspn(text, "/"), zone;
	const char *rest = text[region] ? text + region + 1 : "";

	if (!l)
		return -ENOMEM;
	if (!*text)
		return 0;
	istio__workload__locality__init(l);
	zone = strcspn(rest, "/");
	l->region = scratch_format(a, "%.*s", (int)region, text);
	l->zone = scratch_format(a, "%.*s", (int)zone, rest);
	l->subzone = scratch_format(a, "%s", rest[zone] ? rest + zone + 1 : "");
	msg->locality = l;
	return a->error;
}

/** struct place - where an endpoint is. */
struct place {
	const struct cv_addr *addr; /* NULL: DNS knows host */
	const char *host;
	const char *serves; /* the only one of the entry's hosts; NULL: all */
};

static int set_place(const struct place *at, workload_msg *msg, struct scratch *a)
{
	if (at->addr)
		return pack_addresses(msg, at->addr, 1, a);
	msg->hostname = (char *)(uintptr_t)at->host;
	return 0;
}

/* What an inline endpoint and a WorkloadEntry have in common. */
static int fill_workload(const struct model *m, const json_t *entry, const struct place *at,
			 workload_msg *msg, struct scratch *a)
{
	json_int_t weight = json_integer_value(json_object_get(entry, "weight"));
	int r = set_place(at, msg, a);

	msg->cluster_id = m->cluster_id;
	msg->workload_type = ISTIO__WORKLOAD__WORKLOAD_TYPE__POD;
	msg->network = (char *)(uintptr_t)json_text(entry, "network", "");
	msg->service_account = (char *)(uintptr_t)json_text(entry, "serviceAccount", "");
	if (!streq(m->trust_domain, "cluster.local"))
		msg->trust_domain = m->trust_domain;
	if (r == 0)
		r = set_locality(json_text(entry, "locality", ""), msg, a);
	/* 0 is no weight at all to Istio, as it is on the wire */
	if (r < 0 || weight == 0)
		return r;
	msg->capacity = scratch_alloc(a, sizeof(*msg->capacity));
	if (!msg->capacity)
		return -ENOMEM;
	google__protobuf__uint32_value__init(msg->capacity);
	msg->capacity->value = (uint32_t)weight;
	return 0;
}

/** struct serving - an endpoint in the making. */
struct serving {
	const struct model *m;
	workload_msg *msg;
	struct scratch *a;
};

/* An endpoint of all hosts that are the entry's own, or of @only. */
static int serve_hosts(const struct serving *x, const struct service_entry *s, const json_t *entry,
		       const char *only)
{
	const struct object *o = s->e.object;
	struct port_list ports = {0};
	int r;

	if (service_entry_is_hidden(x->m, s))
		return 0;
	r = pack_entry_ports(s, entry, x->a, &ports);
	for (size_t i = 0; i < s->hosts_count; i++) {
		const char *host = s->hosts[i].name, *key;

		if (r < 0 || (only && !streq(host, only)) || service_entry_rival(x->m, s, host))
			continue;
		key = scratch_format(x->a, "%s/%s", o->namespace_, host);
		r = key ? pack_serves(x->msg, key, &ports, x->a) : -ENOMEM;
	}
	return r;
}

static int set_first_address(const struct service_entry *s, workload_msg *msg, struct scratch *a)
{
	Culvert__Node__Workload x = CULVERT__NODE__WORKLOAD__INIT;

	if (!service_entry_is_first(s) || !*msg->hostname)
		return 0;
	x.first_address = true;
	return pack_extension(XDS_EXTENSION_WORKLOAD, &x.base, a, &msg->extensions,
			      &msg->n_extensions);
}

static int emit_endpoint(struct model *m, struct service_entry *s, const json_t *entry,
			 const struct place *at)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	const struct object *o = s->e.object;
	const ProtobufCMessage *packed;
	workload_msg *msg = pack_workload_new(&a, &packed);
	const struct serving x = {m, msg, &a};
	char text[CV_ADDR_STRLEN];
	int r;

	if (!msg)
		return -ENOMEM;
	msg->uid = scratch_format(&a, "%s/networking.istio.io/ServiceEntry/%s/%s", m->cluster_id,
				  s->e.key, at->addr ? cv_addr_format(at->addr, text) : at->host);
	msg->name = msg->workload_name = (char *)(uintptr_t)o->name;
	msg->namespace_ = (char *)(uintptr_t)o->namespace_;
	pack_canonical_names(o->labels, msg);
	/* Nobody answers for this address: it is no identity and no policy's subject. */
	msg->network_mode = ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	r = fill_workload(m, entry, at, msg, &a);
	if (r == 0)
		r = serve_hosts(&x, s, entry, at->serves);
	if (r == 0)
		r = set_first_address(s, msg, &a);
	if (r < 0 || a.error)
		return -ENOMEM;
	pack_sort_services(msg);
	return service_entry_output(m, s, msg->uid, packed);
}

/* Without endpoints of its own each host is its endpoint; a wildcard of those that have addresses
 * for the names below it, whichever was asked for. */
static int emit_hosts(struct model *m, struct service_entry *s)
{
	int r = 0;

	for (size_t i = 0; i < s->hosts_count; i++) {
		const char *host = s->hosts[i].name;
		const struct place at = {.host = host, .serves = host};

		if (r == 0 && (host[0] != '*' || s->hosts[i].has_vip) &&
		    !service_entry_rival(m, s, host))
			r = emit_endpoint(m, s, NULL, &at);
	}
	return r;
}

static int emit_endpoints(struct model *m, struct service_entry *s)
{
	const json_t *list = object_value(s->e.object, "spec.endpoints"), *one;
	struct cv_addr addr;
	char field[64];
	size_t i;
	int r = 0;

	if (json_array_size(list) == 0 && service_entry_is_named(s) && !service_entry_selector(s))
		return emit_hosts(m, s);
	json_array_foreach (list, i, one) {
		struct place at = {.addr = &addr, .host = json_text(one, "address", "")};

		(void)snprintf(field, sizeof(field), "spec.endpoints[%zu].address", i);
		if (cv_addr_parse(at.host, &addr) < 0)
			at.addr = NULL;
		if (at.addr ? entry_is_pods(m, field, &addr)
			    : entry_is_socket(m, field, at.host) || !service_entry_is_named(s) ||
				      !*at.host)
			continue;
		r = emit_endpoint(m, s, one, &at);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whoever means it for all namespaces would wait in vain for those that have it from elsewhere. */
static void report_first(struct model *m, const struct service_entry *s, const char *host,
			 const char *field)
{
	const struct service_entry *first = service_entry_first(m, host);

	if (first && first != s && service_entry_is_public(m, s))
		report(m, field, true,
		       "%.100s is this one's in its own namespace alone: namespaces without one "
		       "of their own go by ServiceEntry %.200s, the oldest",
		       host, first->e.key);
}

int pack_service_entry(struct model *m, struct service_entry *s)
{
	if (service_entry_is_hidden(m, s))
		return 0;
	for (size_t i = 0; i < s->hosts_count; i++) {
		const char *host = s->hosts[i].name;
		const struct entity *rival = service_entry_rival(m, s, host);
		char field[64];
		int r;

		(void)snprintf(field, sizeof(field), "spec.hosts[%zu]", s->hosts[i].at);
		if (host[0] == '*' && host[1] != '.')
			report(m, field, true,
			       "no name is looked up by a wildcard that no dot follows: what leads "
			       "to "
			       "%.100s are the entry's addresses",
			       host);
		if (rival) {
			report(m, field, true, "%.100s is %s %.200s's already", host,
			       rival->object->kind, rival->key);
			continue;
		}
		report_first(m, s, host, field);
		r = emit_service(m, s, i);
		if (r < 0)
			return r;
	}
	return service_entry_is_balanced(s) ? emit_endpoints(m, s) : 0;
}

/** struct selecting - the ServiceEntries and Services that select a WorkloadEntry. */
struct selecting {
	struct serving x;
	const struct workload_entry *w;
	int r;
};

static void on_selecting(void *arg, void *owner)
{
	struct selecting *g = arg;
	const struct service_entry *s = owner;

	if (g->r < 0 || !labels_match(service_entry_selector(s), g->w->labels))
		return;
	g->r = serve_hosts(&g->x, s, g->w->spec, NULL);
	if (g->r == 0 && g->x.msg->n_extensions == 0)
		g->r = set_first_address(s, g->x.msg, g->x.a);
}

static void on_selecting_service(void *arg, void *owner)
{
	struct selecting *g = arg;
	const struct service *s = owner;
	const struct object *o = s->e.object;
	struct port_list ports;
	const char *key;

	if (g->r < 0 || !labels_match(object_value(o, "spec.selector"), g->w->labels))
		return;
	g->r = pack_named_ports(o, json_object_get(g->w->spec, "ports"), g->x.a, &ports);
	key = pack_service_key(g->x.m, o, g->x.a);
	if (g->r == 0)
		g->r = key ? pack_serves(g->x.msg, key, &ports, g->x.a) : -ENOMEM;
}

/* What machines have registered is called by its addresses: the group says what it is. */
static const char *entry_workload_name(const struct workload_entry *w)
{
	const struct object *o = w->e.object;
	const char *group = object_annotation(o, GROUP_ANNOTATION);
	const char *label = pack_workload_name(w->labels);

	if (group && *group)
		return group;
	return label ? label : o->name;
}

int pack_workload_entry(struct model *m, struct workload_entry *w, const struct cv_addr *addr)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	const struct object *o = w->e.object;
	const struct place at = {.addr = addr, .host = object_string(o, "spec.address")};
	const char *tunnel = object_label(o, "networking.istio.io/tunnel");
	struct selecting g = {.x = {.m = m, .a = &a}, .w = w};
	const ProtobufCMessage *packed;
	workload_msg *msg = pack_workload_new(&a, &packed);

	if (!msg)
		return -ENOMEM;
	g.x.msg = msg;
	msg->uid = scratch_format(&a, "%s/networking.istio.io/WorkloadEntry/%s", m->cluster_id,
				  w->e.key);
	msg->name = (char *)(uintptr_t)o->name;
	msg->workload_name = (char *)(uintptr_t)entry_workload_name(w);
	msg->namespace_ = (char *)(uintptr_t)o->namespace_;
	pack_canonical_names(w->labels, msg);
	msg->native_tunnel = addr && tunnel && streq(tunnel, "http");
	if (msg->native_tunnel)
		msg->tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	g.r = fill_workload(m, w->spec, &at, msg, &a);
	selector_candidates(&m->entries_by_label, o->namespace_, w->labels, on_selecting, &g);
	selector_candidates(&m->services_by_label, o->namespace_, w->labels, on_selecting_service,
			    &g);
	if (g.r < 0 || a.error)
		return -ENOMEM;
	pack_sort_services(msg);
	return output_set(m, XDS_ADDRESS, msg->uid, packed);
}

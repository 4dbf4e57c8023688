/* SPDX-License-Identifier: Apache-2.0 */
/* pack_entry - ServiceEntries and WorkloadEntries as istio.workload messages. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "model/pack.h"
#include "net/cidr.h"
#include "userspace/lib/xds/workload.pb-c.h"

typedef Istio__Workload__Service service_msg;
typedef Istio__Workload__Workload workload_msg;

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

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
static uint32_t target_of(const json_t *port, const json_t *entry)
{
	const json_t *own = json_object_get(json_object_get(entry, "ports"), text_of(port, "name"));

	if (!own)
		own = json_object_get(port, "targetPort");
	return (uint32_t)json_integer_value(own ? own : json_object_get(port, "number"));
}

int pack_entry_ports(const struct service_entry *s, const json_t *entry, struct scratch *a,
		     struct port_list *ret)
{
	const json_t *ports = object_value(s->e.object, "spec.ports"), *one;
	size_t i;

	ret->count = 0;
	ret->ports = scratch_alloc(a, (json_array_size(ports) + 1) * sizeof(*ret->ports));
	if (!ret->ports)
		return -ENOMEM;
	json_array_foreach(ports, i, one)
	{
		Istio__Workload__Port *p = scratch_alloc(a, sizeof(*p));

		if (!p)
			return -ENOMEM;
		if (strcasecmp(text_of(one, "protocol"), "UDP") == 0)
			continue;
		istio__workload__port__init(p);
		p->service_port = (uint32_t)json_integer_value(json_object_get(one, "number"));
		p->target_port = target_of(one, entry);
		p->app_protocol = app_protocol(text_of(one, "protocol"));
		ret->ports[ret->count++] = p;
	}
	return 0;
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
	struct cv_addr vips[2];
	struct cidr c = {.len = 128};
	size_t i;
	int r = 0;

	msg->addresses = scratch_alloc(a, (json_array_size(list) + 2) * sizeof(*msg->addresses));
	if (!msg->addresses)
		return -ENOMEM;
	json_array_foreach(list, i, one) if (r == 0 && cidr_parse(json_string_value(one), &c) == 0)
		r = add_address(msg, &c, a);
	if (r < 0 || !s->hosts[host].has_vip || vip_addrs(&m->vips, msg->hostname, vips) < 0)
		return r;
	c.len = 128;
	for (i = 0; i < 2 && r == 0; i++) {
		c.addr = vips[i];
		r = add_address(msg, &c, a);
	}
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
	json_array_foreach(list, i, one) msg->subject_alt_names[msg->n_subject_alt_names++] =
		(char *)(uintptr_t)json_string_value(one);
	return 0;
}

/* What is not balanced goes where it was going. */
static int set_passthrough(const struct service_entry *s, service_msg *msg, struct scratch *a)
{
	if (service_entry_is_static(s))
		return 0;
	msg->load_balancing = scratch_alloc(a, sizeof(*msg->load_balancing));
	if (!msg->load_balancing)
		return -ENOMEM;
	istio__workload__load_balancing__init(msg->load_balancing);
	msg->load_balancing->mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH;
	return 0;
}

enum visibility { VISIBLE_NOWHERE, VISIBLE_AT_HOME, VISIBLE_EVERYWHERE };

/* Absent means everywhere; a list that names only some namespaces is hidden from all others. */
static enum visibility visibility_of(const struct object *o)
{
	const json_t *list = object_value(o, "spec.exportTo"), *one;
	enum visibility v = VISIBLE_NOWHERE;
	size_t i;

	if (json_array_size(list) == 0)
		return VISIBLE_EVERYWHERE;
	json_array_foreach(list, i, one)
	{
		const char *to = json_string_value(one);

		if (streq(to, "*"))
			return VISIBLE_EVERYWHERE;
		if (!streq(to, "~"))
			v = VISIBLE_AT_HOME;
	}
	return v;
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
	msg.hostname = (char *)(uintptr_t)json_string_value(
		json_array_get(object_value(o, "spec.hosts"), i));
	if (visibility_of(o) == VISIBLE_AT_HOME)
		msg.visibility = ISTIO__WORKLOAD__VISIBILITY__NAMESPACE;
	r = set_addresses(m, s, i, &msg, &a);
	if (r == 0)
		r = set_sans(o, &msg, &a);
	if (r == 0)
		r = set_passthrough(s, &msg, &a);
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

/* What an inline endpoint and a WorkloadEntry have in common. */
static int fill_workload(const struct model *m, const json_t *entry, const struct cv_addr *addr,
			 workload_msg *msg, struct scratch *a)
{
	const json_t *weight = json_object_get(entry, "weight");
	int r = pack_addresses(msg, addr, 1, a);

	msg->cluster_id = m->cluster_id;
	msg->workload_type = ISTIO__WORKLOAD__WORKLOAD_TYPE__POD;
	msg->network = (char *)(uintptr_t)text_of(entry, "network");
	msg->service_account = (char *)(uintptr_t)text_of(entry, "serviceAccount");
	if (!streq(m->trust_domain, "cluster.local"))
		msg->trust_domain = m->trust_domain;
	if (r == 0)
		r = set_locality(text_of(entry, "locality"), msg, a);
	if (r < 0 || !weight)
		return r;
	msg->capacity = scratch_alloc(a, sizeof(*msg->capacity));
	if (!msg->capacity)
		return -ENOMEM;
	google__protobuf__uint32_value__init(msg->capacity);
	msg->capacity->value = (uint32_t)json_integer_value(weight);
	return 0;
}

/* An endpoint of all hosts that are the entry's own. */
static int serve_hosts(const struct model *m, const struct service_entry *s, const json_t *entry,
		       workload_msg *msg, struct scratch *a)
{
	const struct object *o = s->e.object;
	struct port_list ports = {0};
	const json_t *one;
	size_t i;
	int r = pack_entry_ports(s, entry, a, &ports);

	json_array_foreach(object_value(o, "spec.hosts"), i, one)
	{
		const char *host = json_string_value(one), *key;

		if (r < 0 || service_entry_rival(m, s, host))
			continue;
		key = scratch_format(a, "%s/%s", o->namespace_, host);
		r = key ? pack_serves(msg, key, &ports, a) : -ENOMEM;
	}
	return r;
}

static int emit_endpoint(struct model *m, struct service_entry *s, const json_t *entry,
			 const struct cv_addr *addr)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	const struct object *o = s->e.object;
	const ProtobufCMessage *packed;
	workload_msg *msg = pack_workload_new(&a, &packed);
	char text[CV_ADDR_STRLEN];
	int r;

	if (!msg)
		return -ENOMEM;
	msg->uid = scratch_format(&a, "%s/networking.istio.io/ServiceEntry/%s/%s", m->cluster_id,
				  s->e.key, cv_addr_format(addr, text));
	msg->name = msg->workload_name = msg->canonical_name = (char *)(uintptr_t)o->name;
	msg->namespace_ = (char *)(uintptr_t)o->namespace_;
	/* Nobody answers for this address: it is no identity and no policy's subject. */
	msg->network_mode = ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	r = fill_workload(m, entry, addr, msg, &a);
	if (r == 0)
		r = serve_hosts(m, s, entry, msg, &a);
	if (r < 0 || a.error)
		return -ENOMEM;
	pack_sort_services(msg);
	return service_entry_output(m, s, msg->uid, packed);
}

static int emit_endpoints(struct model *m, struct service_entry *s)
{
	const json_t *list = object_value(s->e.object, "spec.endpoints"), *one;
	struct cv_addr addr;
	char field[64];
	size_t i;
	int r;

	json_array_foreach(list, i, one)
	{
		(void)snprintf(field, sizeof(field), "spec.endpoints[%zu].address", i);
		if (cv_addr_parse(text_of(one, "address"), &addr) < 0 ||
		    entry_is_pods(m, field, &addr))
			continue;
		r = emit_endpoint(m, s, one, &addr);
		if (r < 0)
			return r;
	}
	return 0;
}

int pack_service_entry(struct model *m, struct service_entry *s)
{
	const struct object *o = s->e.object;

	if (visibility_of(o) == VISIBLE_NOWHERE)
		return 0;
	for (size_t i = 0; i < s->hosts_count; i++) {
		const char *host =
			json_string_value(json_array_get(object_value(o, "spec.hosts"), i));
		const struct entity *rival = service_entry_rival(m, s, host);
		int r;

		if (rival) {
			char field[64];

			(void)snprintf(field, sizeof(field), "spec.hosts[%zu]", i);
			report(m, field, true, "%.100s is %s %.200s's already", host,
			       rival->object->kind, rival->key);
			continue;
		}
		r = emit_service(m, s, i);
		if (r < 0)
			return r;
	}
	return service_entry_is_static(s) ? emit_endpoints(m, s) : 0;
}

/** struct selecting - the ServiceEntries that select a WorkloadEntry. */
struct selecting {
	const struct model *m;
	const struct workload_entry *w;
	workload_msg *msg;
	struct scratch *a;
	int r;
};

static void on_selecting(void *arg, void *owner)
{
	struct selecting *x = arg;

	if (x->r < 0 || !selector_matches(service_entry_selector(owner), x->w->labels))
		return;
	x->r = serve_hosts(x->m, owner, object_value(x->w->e.object, "spec"), x->msg, x->a);
}

int pack_workload_entry(struct model *m, struct workload_entry *w, const struct cv_addr *addr)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	const struct object *o = w->e.object;
	const char *tunnel = object_label(o, "networking.istio.io/tunnel");
	struct selecting x = {.m = m, .w = w, .a = &a};
	const ProtobufCMessage *packed;

	x.msg = pack_workload_new(&a, &packed);
	if (!x.msg)
		return -ENOMEM;
	x.msg->uid = scratch_format(&a, "%s/networking.istio.io/WorkloadEntry/%s", m->cluster_id,
				    w->e.key);
	x.msg->name = x.msg->workload_name = x.msg->canonical_name = (char *)(uintptr_t)o->name;
	x.msg->namespace_ = (char *)(uintptr_t)o->namespace_;
	x.msg->native_tunnel = tunnel && streq(tunnel, "http");
	if (x.msg->native_tunnel)
		x.msg->tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	x.r = fill_workload(m, object_value(o, "spec"), addr, x.msg, &a);
	selector_candidates(&m->entries_by_label, o->namespace_, w->labels, on_selecting, &x);
	if (x.r < 0 || a.error)
		return -ENOMEM;
	pack_sort_services(x.msg);
	return output_set(m, XDS_ADDRESS, x.msg->uid, packed);
}

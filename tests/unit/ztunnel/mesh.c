/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ztunnel/mesh.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "net/addr.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "xds/types.h"
#include "ztunnel/decode.h"
#include "ztunnel/mesh_nodes.h"

struct cv_addr mesh_addr(const char *text)
{
	struct cv_addr a;

	assert_int_equal(cv_addr_parse(text, &a), 0);
	return a;
}

struct cv_sockaddr mesh_sockaddr(const char *text)
{
	struct cv_sockaddr sa;

	assert_int_equal(cv_sockaddr_parse(text, &sa), 0);
	return sa;
}

static size_t list_len(const char *const *list)
{
	size_t n = 0;

	while (n < MESH_LIST_MAX && list[n])
		n++;
	return n;
}

/* Parts that a message points to while it is packed. */
struct parts {
	uint8_t bytes[MESH_LIST_MAX][16];
	ProtobufCBinaryData addrs[MESH_LIST_MAX];
	Istio__Workload__Port port, more_port;
	Istio__Workload__Port *ports[2];
	Istio__Workload__PortList list;
	Istio__Workload__WorkloadService services[MESH_LIST_MAX];
	Istio__Workload__WorkloadService *services_p[MESH_LIST_MAX];
	Istio__Workload__NetworkAddress vips[MESH_LIST_MAX];
	Istio__Workload__NetworkAddress *vips_p[MESH_LIST_MAX];
	Istio__Workload__GatewayAddress waypoint;
	Istio__Workload__NamespacedHostname waypoint_name;
	char waypoint_namespace[64];
	Google__Protobuf__UInt32Value capacity;
	Istio__Workload__Locality locality;
	Istio__Workload__LoadBalancing lb;
	char hostname[256];
	Culvert__Node__HostPort host_ports[MESH_LIST_MAX], *host_ports_p[MESH_LIST_MAX];
	uint8_t host_bytes[MESH_LIST_MAX][16];
	uint8_t extra[512];
	Google__Protobuf__Any any;
	Istio__Workload__Extension extension;
	Istio__Workload__Extension *extensions[1];
};

static Istio__Workload__Extension **extension_of(struct parts *p, const char *name,
						 const ProtobufCMessage *m)
{
	assert_true(protobuf_c_message_get_packed_size(m) <= sizeof(p->extra));
	google__protobuf__any__init(&p->any);
	p->any.value.len = protobuf_c_message_pack(m, p->extra);
	p->any.value.data = p->extra;
	istio__workload__extension__init(&p->extension);
	p->extension.name = (char *)name;
	p->extension.config = &p->any;
	p->extensions[0] = &p->extension;
	return p->extensions;
}

static ProtobufCBinaryData bytes_of(const char *text, uint8_t into[16])
{
	struct cv_addr a = mesh_addr(text);

	return (ProtobufCBinaryData){.len = cv_addr_bytes(&a, into), .data = into};
}

static Istio__Workload__Port **ports_of(struct parts *p, const uint32_t ports[2])
{
	istio__workload__port__init(&p->port);
	p->port.service_port = ports[0];
	p->port.target_port = ports[1];
	p->ports[0] = &p->port;
	return p->ports;
}

static Istio__Workload__GatewayAddress *waypoint_of(struct parts *p, const char *key)
{
	const char *slash = key ? strchr(key, '/') : NULL;

	if (!slash)
		return NULL;
	istio__workload__gateway_address__init(&p->waypoint);
	istio__workload__namespaced_hostname__init(&p->waypoint_name);
	(void)snprintf(p->waypoint_namespace, sizeof(p->waypoint_namespace), "%.*s",
		       (int)(slash - key), key);
	p->waypoint_name.namespace_ = p->waypoint_namespace;
	p->waypoint_name.hostname = (char *)slash + 1;
	p->waypoint.destination_case = ISTIO__WORKLOAD__GATEWAY_ADDRESS__DESTINATION_HOSTNAME;
	p->waypoint.hostname = &p->waypoint_name;
	p->waypoint.hbone_mtls_port = 15008;
	return &p->waypoint;
}

static void services_of(struct parts *p, const struct mesh_workload *w,
			Istio__Workload__Workload *m)
{
	istio__workload__port_list__init(&p->list);
	if (w->ports[0]) {
		p->list.n_ports = 1;
		p->list.ports = ports_of(p, w->ports);
	}
	m->n_services = list_len(w->services);
	for (size_t i = 0; i < m->n_services; i++) {
		istio__workload__workload_service__init(&p->services[i]);
		p->services[i].key = (char *)w->services[i];
		p->services[i].value = &p->list;
		p->services_p[i] = &p->services[i];
	}
	m->services = p->services_p;
}

static size_t pack(Istio__Workload__Address *a, uint8_t into[MESH_PACKED_SIZE])
{
	assert_true(istio__workload__address__get_packed_size(a) <= MESH_PACKED_SIZE);
	return istio__workload__address__pack(a, into);
}

static void host_ports_of(struct parts *p, const struct mesh_workload *w,
			  Culvert__Node__Workload *x)
{
	for (; w->host_ports[x->n_host_ports]; x->n_host_ports++) {
		Culvert__Node__HostPort *to = &p->host_ports[x->n_host_ports];
		struct cv_sockaddr at = mesh_sockaddr(w->host_ports[x->n_host_ports]);

		culvert__node__host_port__init(to);
		to->address.data = p->host_bytes[x->n_host_ports];
		to->address.len = cv_addr_bytes(&at.addr, to->address.data);
		to->host_port = ntohs(at.port);
		to->target_port = w->host_target;
		p->host_ports_p[x->n_host_ports] = to;
	}
	x->host_ports = p->host_ports_p;
}

size_t mesh_pack_workload(const struct mesh_workload *w, uint8_t into[MESH_PACKED_SIZE])
{
	Istio__Workload__Workload m = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	const char *ns = w->namespace_ ? w->namespace_ : "demo";
	struct parts p = {0};
	char uid[256];

	(void)snprintf(uid, sizeof(uid), "Kubernetes//Pod/%s/%s", ns, w->name);
	m.uid = uid;
	m.name = (char *)w->name;
	m.workload_name = m.canonical_name = (char *)(w->owner ? w->owner : w->name);
	m.namespace_ = (char *)ns;
	m.service_account = (char *)(w->account ? w->account : "");
	if (w->dns_host)
		m.hostname = (char *)w->dns_host;
	m.node = (char *)(w->node ? w->node : "n1");
	m.tunnel_protocol = w->is_tcp ? ISTIO__WORKLOAD__TUNNEL_PROTOCOL__NONE
				      : ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	m.status = w->is_unhealthy ? ISTIO__WORKLOAD__WORKLOAD_STATUS__UNHEALTHY
				   : ISTIO__WORKLOAD__WORKLOAD_STATUS__HEALTHY;
	m.network_mode = w->is_host_network ? ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK
					    : ISTIO__WORKLOAD__NETWORK_MODE__STANDARD;
	m.n_addresses = list_len(w->addrs);
	for (size_t i = 0; i < m.n_addresses; i++)
		p.addrs[i] = bytes_of(w->addrs[i], p.bytes[i]);
	m.addresses = p.addrs;
	services_of(&p, w, &m);
	m.n_authorization_policies = list_len(w->policies);
	m.authorization_policies = (char **)w->policies;
	m.waypoint = waypoint_of(&p, w->waypoint);
	if (w->hostname || w->client || w->server || w->is_first_address || w->incarnation ||
	    w->host_ports[0]) {
		Culvert__Node__Workload x = CULVERT__NODE__WORKLOAD__INIT;

		if (w->hostname) {
			x.hostname = (char *)w->hostname;
			x.subdomain = (char *)w->subdomain;
		}
		x.first_address = w->is_first_address;
		x.incarnation = w->incarnation;
		x.client = w->client;
		x.server = w->server;
		host_ports_of(&p, w, &x);
		m.extensions = extension_of(&p, XDS_EXTENSION_WORKLOAD, &x.base);
		m.n_extensions = 1;
	}
	if (w->zone) {
		istio__workload__locality__init(&p.locality);
		p.locality.zone = (char *)w->zone;
		m.locality = &p.locality;
	}
	if (w->capacity || w->is_weightless) {
		google__protobuf__uint32_value__init(&p.capacity);
		p.capacity.value = w->capacity;
		m.capacity = &p.capacity;
	}
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &m;
	return pack(&a, into);
}

static void vips_of(struct parts *p, const struct mesh_service *s, Istio__Workload__Service *m)
{
	m->n_addresses = list_len(s->vips);
	for (size_t i = 0; i < m->n_addresses; i++) {
		istio__workload__network_address__init(&p->vips[i]);
		p->vips[i].address = bytes_of(s->vips[i], p->bytes[i]);
		p->vips_p[i] = &p->vips[i];
	}
	if (s->vip_bits) {
		p->vips[0].prefix_case = ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH;
		p->vips[0].length = s->vip_bits;
	}
	m->addresses = p->vips_p;
}

size_t mesh_pack_service(const struct mesh_service *s, uint8_t into[MESH_PACKED_SIZE])
{
	Istio__Workload__Service m = ISTIO__WORKLOAD__SERVICE__INIT;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	const char *ns = s->namespace_ ? s->namespace_ : "demo";
	struct parts p = {0};

	(void)snprintf(p.hostname, sizeof(p.hostname), "%s.%s.svc.cluster.local", s->name, ns);
	m.name = (char *)s->name;
	m.namespace_ = (char *)ns;
	m.hostname = s->hostname ? (char *)s->hostname : p.hostname;
	vips_of(&p, s, &m);
	if (s->ports[0]) {
		m.n_ports = 1;
		m.ports = ports_of(&p, s->ports);
		if (s->is_tcp)
			p.port.app_protocol = ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TCP;
	}
	if (s->ports[0] && s->more_ports[0]) {
		istio__workload__port__init(&p.more_port);
		p.more_port.service_port = s->more_ports[0];
		p.more_port.target_port = s->more_ports[1];
		m.ports[m.n_ports++] = &p.more_port;
	}
	m.waypoint = waypoint_of(&p, s->waypoint);
	m.n_subject_alt_names = s->san != NULL;
	m.subject_alt_names = (char **)(uintptr_t)&s->san;
	m.canonical = s->is_canonical;
	m.visibility = s->is_namespace_only ? ISTIO__WORKLOAD__VISIBILITY__NAMESPACE
					    : ISTIO__WORKLOAD__VISIBILITY__PUBLIC;
	if (s->is_sticky || s->is_open || s->node_port || s->external[0] || s->is_first) {
		Culvert__Node__Service x = CULVERT__NODE__SERVICE__INIT;
		Culvert__Node__NodePort np = CULVERT__NODE__NODE_PORT__INIT, *list = &np;

		np.node_port = s->node_port;
		np.service_port = s->ports[0];
		x.n_node_ports = s->node_port != 0;
		x.node_ports = &list;
		x.is_external_local = s->is_external_local;
		x.affinity_seconds = s->is_sticky ? 10800 : 0;
		x.is_open = s->is_open;
		x.is_first = s->is_first;
		x.n_external_addresses = list_len(s->external);
		for (size_t i = 0; i < x.n_external_addresses; i++)
			p.addrs[i] = bytes_of(s->external[i], p.host_bytes[i]);
		x.external_addresses = p.addrs;
		m.extensions = extension_of(&p, XDS_EXTENSION_SERVICE, &x.base);
		m.n_extensions = 1;
	}
	if (s->mode) {
		istio__workload__load_balancing__init(&p.lb);
		p.lb.mode = s->mode;
		p.lb.n_routing_preference = (s->scopes[0] != 0) + (s->scopes[1] != 0);
		p.lb.routing_preference = (Istio__Workload__LoadBalancing__Scope *)s->scopes;
		m.load_balancing = &p.lb;
	}
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	a.service = &m;
	return pack(&a, into);
}

/* One for all meshes of a program, until it ends. */
static struct decode_tables *tables(void)
{
	static struct decode_tables *t;

	if (!t)
		assert_int_equal(decode_tables_new("", &t), 0);
	return t;
}

void mesh_put_workload(struct state_builder *b, const struct mesh_workload *w)
{
	uint8_t packed[MESH_PACKED_SIZE];
	struct decoded_address a = {0};
	char err[256] = "";

	if (decode_address(tables(), packed, mesh_pack_workload(w, packed), &a, err, sizeof(err)) <
	    0)
		fail_msg("%s", err);
	assert_non_null(a.workload);
	assert_int_equal(state_builder_put_workload(b, a.workload), 0);
	workload_unref(a.workload);
}

void mesh_put_service(struct state_builder *b, const struct mesh_service *s)
{
	uint8_t packed[MESH_PACKED_SIZE];
	struct decoded_address a = {0};
	char err[256] = "";

	if (decode_address(tables(), packed, mesh_pack_service(s, packed), &a, err, sizeof(err)) <
	    0)
		fail_msg("%s", err);
	assert_non_null(a.service);
	assert_int_equal(state_builder_put_service(b, a.service), 0);
	service_def_unref(a.service);
}

void mesh_put_node(struct state_builder *b, const char *name, const char *const *ips)
{
	Culvert__Node__Node m = CULVERT__NODE__NODE__INIT;
	uint8_t bytes[MESH_LIST_MAX][16], packed[MESH_PACKED_SIZE];
	ProtobufCBinaryData addrs[MESH_LIST_MAX];
	char *ranges[MESH_LIST_MAX];

	m.name = (char *)name;
	m.addresses = addrs;
	m.pod_ranges = ranges;
	for (size_t i = 0; ips[i]; i++) {
		if (strchr(ips[i], '/'))
			ranges[m.n_pod_ranges++] = (char *)(uintptr_t)ips[i];
		else
			addrs[m.n_addresses] = bytes_of(ips[i], bytes[m.n_addresses]);
		m.n_addresses += !strchr(ips[i], '/');
	}
	assert_int_equal(mesh_nodes_put(state_builder_nodes(b), name, packed,
					culvert__node__node__pack(&m, packed)),
			 0);
}

struct policy *mesh_policy(Istio__Security__Authorization *m)
{
	uint8_t packed[MESH_PACKED_SIZE];
	struct policy *p = NULL;
	char name[256];
	char err[256] = "";
	size_t len = istio__security__authorization__get_packed_size(m);

	assert_true(len <= sizeof(packed));
	istio__security__authorization__pack(m, packed);
	(void)snprintf(name, sizeof(name), "%s/%s", m->namespace_, m->name);
	if (decode_policy(name, packed, len, &p, err, sizeof(err)) < 0)
		fail_msg("%s", err);
	return p;
}

void mesh_put_policy(struct state_builder *b, Istio__Security__Authorization *m)
{
	struct policy *p = mesh_policy(m);

	assert_int_equal(state_builder_put_policy(b, p), 0);
	policy_unref(p);
}

struct state *mesh_build(struct state_builder *b)
{
	struct state *s = NULL;

	assert_int_equal(state_builder_build(b, &s), 0);
	return s;
}

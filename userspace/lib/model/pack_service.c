/* SPDX-License-Identifier: Apache-2.0 */
/* pack_service - a Service as istio.workload.Service. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "model/pack.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"

typedef Istio__Workload__Service service_msg;
/* Kubernetes' default of sessionAffinityConfig.clientIP.timeoutSeconds */
#define AFFINITY_SECONDS 10800

typedef Istio__Workload__LoadBalancing load_balancing_msg;

static bool has_addr(const service_msg *msg, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < msg->n_addresses; i++)
		if (msg->addresses[i]->address.len == n &&
		    memcmp(msg->addresses[i]->address.data, bytes, n) == 0)
			return true;
	return false;
}

/* "None", "" and what is no address add nothing. */
static int add_vip(service_msg *msg, const json_t *text, struct scratch *a)
{
	Istio__Workload__NetworkAddress *vip;
	struct cv_addr addr;
	uint8_t *bytes;

	if (!json_is_string(text) || cv_addr_parse(json_string_value(text), &addr) < 0 ||
	    cv_addr_is_any(&addr) || cv_addr_is_loopback(&addr))
		return 0;
	bytes = scratch_alloc(a, 16);
	vip = scratch_alloc(a, sizeof(*vip));
	if (!bytes || !vip)
		return -ENOMEM;
	istio__workload__network_address__init(vip);
	vip->address.len = cv_addr_bytes(&addr, bytes);
	vip->address.data = bytes;
	if (!has_addr(msg, bytes, vip->address.len))
		msg->addresses[msg->n_addresses++] = vip;
	return 0;
}

/* @ret_cluster: how many of them are the cluster's; these come first. */
static int add_vips(service_msg *msg, const struct object *o, struct scratch *a,
		    size_t *ret_cluster)
{
	const json_t *ips = object_value(o, "spec.clusterIPs"),
		     *external = object_value(o, "spec.externalIPs");
	const json_t *ingress = object_value(o, "status.loadBalancer.ingress"), *one;
	size_t i,
		n = json_array_size(ips) + json_array_size(external) + json_array_size(ingress) + 1;
	int r;

	msg->addresses = scratch_alloc(a, n * sizeof(*msg->addresses));
	if (!msg->addresses)
		return -ENOMEM;
	r = add_vip(msg, object_value(o, "spec.clusterIP"), a);
	json_array_foreach (ips, i, one)
		r = r < 0 ? r : add_vip(msg, one, a);
	*ret_cluster = msg->n_addresses;
	json_array_foreach (external, i, one)
		r = r < 0 ? r : add_vip(msg, one, a);
	json_array_foreach (ingress, i, one) {
		const char *mode = json_string_value(json_object_get(one, "ipMode"));

		if (!mode || streq(mode, "VIP"))
			r = r < 0 ? r : add_vip(msg, json_object_get(one, "ip"), a);
	}
	return r;
}

static Istio__Workload__IPFamilies ip_families(const struct object *o)
{
	const json_t *list = object_value(o, "spec.ipFamilies");
	const char *first = json_string_value(json_array_get(list, 0));

	if (!first)
		return ISTIO__WORKLOAD__IPFAMILIES__AUTOMATIC;
	if (json_array_size(list) > 1)
		return ISTIO__WORKLOAD__IPFAMILIES__DUAL;
	return streq(first, "IPv4") ? ISTIO__WORKLOAD__IPFAMILIES__IPV4_ONLY
				    : ISTIO__WORKLOAD__IPFAMILIES__IPV6_ONLY;
}

static int set_load_balancing(const struct model *m, const struct object *o, service_msg *msg,
			      struct scratch *a)
{
	load_balancing_msg *lb = scratch_alloc(a, sizeof(*lb));

	if (!lb)
		return -ENOMEM;
	istio__workload__load_balancing__init(lb);
	pack_distribution(m, o, lb);
	if (json_is_true(object_value(o, "spec.publishNotReadyAddresses")))
		lb->health_policy = ISTIO__WORKLOAD__LOAD_BALANCING__HEALTH_POLICY__ALLOW_ALL;
	if (lb->mode != ISTIO__WORKLOAD__LOAD_BALANCING__MODE__UNSPECIFIED_MODE ||
	    lb->health_policy)
		msg->load_balancing = lb;
	return 0;
}

int pack_extension(const char *name, const ProtobufCMessage *msg, struct scratch *a,
		   Istio__Workload__Extension ***ret, size_t *ret_count)
{
	Istio__Workload__Extension *x = scratch_alloc(a, sizeof(*x)),
				   **list = scratch_alloc(a, sizeof(Istio__Workload__Extension *));
	Google__Protobuf__Any *any = scratch_alloc(a, sizeof(*any));
	uint8_t *bytes = scratch_alloc(a, protobuf_c_message_get_packed_size(msg) + 1);

	if (!x || !list || !any || !bytes)
		return -ENOMEM;
	istio__workload__extension__init(x);
	google__protobuf__any__init(any);
	any->type_url = scratch_concat(a, "type.googleapis.com/", name);
	any->value.len = protobuf_c_message_pack(msg, bytes);
	any->value.data = bytes;
	x->name = (char *)(uintptr_t)name;
	x->config = any;
	list[0] = x;
	*ret = list;
	*ret_count = 1;
	return any->type_url ? 0 : -ENOMEM;
}

static uint32_t affinity_of(const struct object *o)
{
	const char *how = object_string(o, "spec.sessionAffinity");
	const json_t *seconds =
		object_value(o, "spec.sessionAffinityConfig.clientIP.timeoutSeconds");

	if (!how || !streq(how, "ClientIP"))
		return 0;
	return json_is_integer(seconds) ? (uint32_t)json_integer_value(seconds) : AFFINITY_SECONDS;
}

static int set_node_ports(Culvert__Node__Service *x, const struct object *o, struct scratch *a)
{
	const char *policy = object_string(o, "spec.externalTrafficPolicy");
	const json_t *ports = object_value(o, "spec.ports"), *port;
	size_t i;

	x->is_external_local = policy && streq(policy, "Local");
	x->node_ports = scratch_alloc(a, (json_array_size(ports) + 1) * sizeof(*x->node_ports));
	if (!x->node_ports)
		return -ENOMEM;
	json_array_foreach (ports, i, port) {
		uint16_t number = json_port(port, "nodePort");
		Culvert__Node__NodePort *p;

		if (!number || !service_port_is_tcp(port))
			continue;
		p = scratch_alloc(a, sizeof(*p));
		if (!p)
			return -ENOMEM;
		culvert__node__node_port__init(p);
		p->node_port = number;
		p->service_port = json_port(port, "port");
		x->node_ports[x->n_node_ports++] = p;
	}
	return 0;
}

/** struct look - at the pods that a Service selects. */
struct look {
	const struct model *m;
	const json_t *outside; /* labels with which a pod is outside the mesh: mostly the next has
				* them, too */
};

static bool is_of_mesh(void *arg, struct pod *p)
{
	const struct object *o = p->e.object;
	struct look *x = arg;

	if (p->facts->has_ended || p->facts->is_host_network ||
	    (!o->annotations && o->labels == x->outside))
		return false;
	if (pod_is_enrolled(x->m, o))
		return true;
	if (!o->annotations)
		x->outside = o->labels;
	return false;
}

/* Whoever balances besides us hears of an endpoint that becomes ready when we do, and would lead
 * there in plaintext: so its pods count from when they are known, ready or not. Not those of
 * somebody's own slices, which are endpoints as soon as we hear of them. */
static bool selects_mesh(const struct model *m, const struct service *s)
{
	struct look x = {.m = m};

	return json_object_size(s->selector) > 0 &&
	       selector_pods(m, s->e.object->namespace_, s->selector, is_of_mesh, &x);
}

/* Where kube-proxy leads to the Service as well, but no nameserver of the cluster. Old agents and
 * ztunnels have to know them, too: what they do not take for the mesh's goes out in plaintext. So
 * they stand among the addresses, and are only marked. */
static int set_external_addresses(Culvert__Node__Service *x, const service_msg *msg,
				  size_t cluster_count, struct scratch *a)
{
	size_t n = msg->n_addresses - cluster_count;

	x->external_addresses = scratch_alloc(a, n * sizeof(*x->external_addresses) + 1);
	if (!x->external_addresses)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		x->external_addresses[i] = msg->addresses[cluster_count + i]->address;
	x->n_external_addresses = n;
	return 0;
}

static int set_extension(const struct model *m, const struct service *s, service_msg *msg,
			 size_t cluster_count, struct scratch *a)
{
	const struct object *o = s->e.object;
	Culvert__Node__Service x = CULVERT__NODE__SERVICE__INIT;
	int r = set_node_ports(&x, o, a);

	if (r == 0)
		r = set_external_addresses(&x, msg, cluster_count, a);
	if (r < 0)
		return r;
	x.affinity_seconds = affinity_of(o);
	x.is_external_local &= x.n_node_ports > 0;
	x.selects_mesh = selects_mesh(m, s);
	if (!x.affinity_seconds && !x.n_node_ports && !x.selects_mesh && !x.n_external_addresses)
		return 0;
	return pack_extension(XDS_EXTENSION_SERVICE, &x.base, a, &msg->extensions,
			      &msg->n_extensions);
}

bool export_is_public(const json_t *export_to)
{
	return json_array_size(export_to) == 0 || json_has_text(export_to, "*");
}

bool export_is_nowhere(const json_t *export_to)
{
	return json_array_size(export_to) == 1 && json_has_text(export_to, "~");
}

/* The extension of a message that may have one already. */
static int set_visible_to(service_msg *msg, char **list, size_t n, struct scratch *a)
{
	Culvert__Node__Service x = CULVERT__NODE__SERVICE__INIT, *old = NULL;
	int r;

	if (msg->n_extensions)
		old = culvert__node__service__unpack(NULL, msg->extensions[0]->config->value.len,
						     msg->extensions[0]->config->value.data);
	if (old)
		x = *old;
	x.visible_to = list;
	x.n_visible_to = n;
	r = pack_extension(XDS_EXTENSION_SERVICE, &x.base, a, &msg->extensions, &msg->n_extensions);
	if (old)
		culvert__node__service__free_unpacked(old, NULL);
	return r;
}

int pack_visibility(const json_t *export_to, service_msg *msg, struct scratch *a)
{
	bool is_home_alone = true;
	char **list;
	size_t i, n = 0;
	const json_t *one;

	if (export_is_public(export_to))
		return 0;
	msg->visibility = ISTIO__WORKLOAD__VISIBILITY__NAMESPACE;
	list = scratch_alloc(a, json_array_size(export_to) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	json_array_foreach (export_to, i, one) {
		const char *to = json_string_value(one);

		if (streq(to, "~"))
			continue;
		list[n++] = (char *)(uintptr_t)(streq(to, ".") ? msg->namespace_ : to);
		is_home_alone &= streq(list[n - 1], msg->namespace_);
	}
	/* what other ztunnels understand as well */
	return is_home_alone ? 0 : set_visible_to(msg, list, n, a);
}

/* "ns1,ns2", of a Service. */
static int annotation_visibility(const struct object *o, service_msg *msg, struct scratch *a)
{
	const char *text = object_annotation(o, "networking.istio.io/exportTo");
	_cleanup_(json_decrefp) json_t *list = text ? json_array() : NULL;
	char *rest = text ? scratch_format(a, "%s", text) : NULL;

	if (!text)
		return 0;
	for (char *one = strsep(&rest, ","); one; one = strsep(&rest, ",")) {
		one += strspn(one, " ");
		one[strcspn(one, " ")] = '\0';
		if (*one && json_array_append_new(list, json_string(one)) < 0)
			return -ENOMEM;
	}
	return pack_visibility(list, msg, a);
}

const char *pack_service_key(const struct model *m, const struct object *service, struct scratch *a)
{
	return scratch_concat(a, service->namespace_, "/",
			      SERVICE_HOST(m, service->namespace_, service->name));
}

static int service_fill(const struct model *m, const struct service *s, service_msg *msg,
			struct scratch *a)
{
	const struct object *o = s->e.object;
	struct port_list ports;
	size_t cluster_count = 0;
	int r;

	msg->name = (char *)o->name;
	msg->namespace_ = (char *)o->namespace_;
	msg->hostname = scratch_concat(a, SERVICE_HOST(m, o->namespace_, o->name));
	msg->canonical = true;
	msg->ip_families = ip_families(o);
	r = add_vips(msg, o, a, &cluster_count);
	if (r < 0)
		return r;
	r = set_load_balancing(m, o, msg, a);
	if (r < 0)
		return r;
	r = set_extension(m, s, msg, cluster_count, a);
	if (r == 0)
		r = annotation_visibility(o, msg, a);
	if (r < 0)
		return r;
	r = pack_service_ports(o, a, &ports);
	if (r < 0)
		return r;
	msg->ports = ports.ports;
	msg->n_ports = ports.count;
	return a->error;
}

const ProtobufCMessage *pack_service(const struct model *m, const struct service *s,
				     struct scratch *a)
{
	Istio__Workload__Address *address = scratch_alloc(a, sizeof(*address));
	service_msg *msg = scratch_alloc(a, sizeof(*msg));

	if (!address || !msg)
		return NULL;
	istio__workload__address__init(address);
	istio__workload__service__init(msg);
	address->type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	address->service = msg;
	return service_fill(m, s, msg, a) < 0 ? NULL : &address->base;
}

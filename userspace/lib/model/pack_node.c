/* SPDX-License-Identifier: Apache-2.0 */
/* pack_node - a Node as culvert.node.Node: where the node ports of Services are, the hostPorts of
 * its pods, and what addresses pods have there. */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "model/pack.h"
#include "net/cidr.h"
#include "userspace/lib/xds/node.pb-c.h"

/* Hostname, InternalDNS and ExternalDNS are no addresses. */
static bool is_ip(const json_t *one, struct cv_addr *ret)
{
	const char *type = json_string_value(json_object_get(one, "type"));
	const char *text = json_string_value(json_object_get(one, "address"));

	return type && text && (streq(type, "InternalIP") || streq(type, "ExternalIP")) &&
	       cv_addr_parse(text, ret) == 0 && !cv_addr_is_any(ret) && !cv_addr_is_loopback(ret);
}

static void range_add(const json_t *one, Culvert__Node__Node *msg)
{
	const char *text = json_string_value(one);
	struct cidr c;

	if (text && cidr_parse(text, &c) == 0)
		msg->pod_ranges[msg->n_pod_ranges++] = (char *)(uintptr_t)text;
}

/* Of an old Node, or one that somebody wrote, the single one. */
static int ranges_fill(const struct object *node, Culvert__Node__Node *msg, struct scratch *a)
{
	const json_t *list = object_value(node, "spec.podCIDRs"), *one;
	size_t i;

	msg->pod_ranges = scratch_alloc(a, (json_array_size(list) + 1) * sizeof(*msg->pod_ranges));
	if (!msg->pod_ranges)
		return -ENOMEM;
	json_array_foreach (list, i, one)
		range_add(one, msg);
	if (!msg->n_pod_ranges)
		range_add(object_value(node, "spec.podCIDR"), msg);
	return 0;
}

static int addresses_fill(const struct object *node, Culvert__Node__Node *msg, struct scratch *a)
{
	const json_t *list = object_value(node, "status.addresses"), *one;
	struct cv_addr addr;
	size_t i;

	msg->addresses = scratch_alloc(a, (json_array_size(list) + 1) * sizeof(*msg->addresses));
	if (!msg->addresses)
		return -ENOMEM;
	json_array_foreach (list, i, one) {
		uint8_t *bytes = scratch_alloc(a, 16);

		if (!bytes)
			return -ENOMEM;
		if (is_ip(one, &addr))
			msg->addresses[msg->n_addresses++] = (ProtobufCBinaryData){
				.len = cv_addr_bytes(&addr, bytes), .data = bytes};
	}
	return 0;
}

static bool is_same_family(const struct cv_addr *a, const struct cv_addr *b)
{
	return cv_addr_is_v4(a) == cv_addr_is_v4(b);
}

/* Whether the CNI leads @port at @addr to the pod: within a family, and hostIP may name one. Of a
 * pod whose addresses are not known yet it may be either. */
static bool is_mapped(const struct pod_facts *pod, const struct pod_host_port *port,
		      const struct cv_addr *addr)
{
	if (!is_same_family(&port->host_ip, addr) ||
	    (!cv_addr_is_any(&port->host_ip) && !cv_addr_equal(&port->host_ip, addr)))
		return false;
	for (size_t i = 0; i < pod->addrs_count; i++)
		if (is_same_family(&pod->addrs[i], addr))
			return true;
	return pod->addrs_count == 0;
}

static int host_port_add(Culvert__Node__Workload *x, const struct pod_host_port *port,
			 const struct cv_addr *addr, struct scratch *a)
{
	Culvert__Node__HostPort *p = scratch_alloc(a, sizeof(*p));
	uint8_t *bytes = scratch_alloc(a, 16);

	if (!p || !bytes)
		return -ENOMEM;
	culvert__node__host_port__init(p);
	p->address.len = cv_addr_bytes(addr, bytes);
	p->address.data = bytes;
	p->host_port = port->host_port;
	p->target_port = port->port;
	x->host_ports[x->n_host_ports++] = p;
	return 0;
}

/* Only at addresses that the Node says are its own: a pod could name any. */
int pack_host_ports(const struct model *m, const struct pod_facts *pod, Culvert__Node__Workload *x,
		    struct scratch *a)
{
	const struct entity *node = entity_find(m, ENTITY_NODE, "", pod->node);
	const json_t *list, *one;
	struct cv_addr addr;
	size_t i;
	int r = 0;

	if (!node || !pod->host_ports_count)
		return 0;
	list = object_value(node->object, "status.addresses");
	x->host_ports = scratch_alloc(a, (json_array_size(list) * pod->host_ports_count + 1) *
						 sizeof(*x->host_ports));
	if (!x->host_ports)
		return -ENOMEM;
	json_array_foreach (list, i, one) {
		if (!is_ip(one, &addr))
			continue;
		for (size_t k = 0; k < pod->host_ports_count && r == 0; k++)
			if (is_mapped(pod, &pod->host_ports[k], &addr))
				r = host_port_add(x, &pod->host_ports[k], &addr, a);
	}
	return r;
}

int pack_node(struct model *m, const struct object *node)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	Culvert__Node__Node msg = CULVERT__NODE__NODE__INIT;
	int r = addresses_fill(node, &msg, &a);

	if (r == 0)
		r = ranges_fill(node, &msg, &a);
	if (r < 0 || !(msg.n_addresses + msg.n_pod_ranges))
		return r;
	msg.name = (char *)(uintptr_t)node->name;
	return output_set(m, XDS_NODE, node->name, &msg.base);
}

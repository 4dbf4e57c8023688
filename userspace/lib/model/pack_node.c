/* SPDX-License-Identifier: Apache-2.0 */
/* pack_node - a Node as culvert.node.Node: where the node ports of Services are. */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "model/pack.h"
#include "userspace/lib/xds/node.pb-c.h"

/* Hostname, InternalDNS and ExternalDNS are no addresses. */
static bool is_ip(const json_t *one, struct cv_addr *ret)
{
	const char *type = json_string_value(json_object_get(one, "type"));
	const char *text = json_string_value(json_object_get(one, "address"));

	return type && text && (streq(type, "InternalIP") || streq(type, "ExternalIP")) &&
	       cv_addr_parse(text, ret) == 0 && !cv_addr_is_any(ret) && !cv_addr_is_loopback(ret);
}

static int node_fill(const struct object *node, Culvert__Node__Node *msg, struct scratch *a)
{
	const json_t *list = object_value(node, "status.addresses"), *one;
	struct cv_addr addr;
	size_t i;

	msg->name = (char *)(uintptr_t)node->name;
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

int pack_node(struct model *m, const struct object *node)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	Culvert__Node__Node msg = CULVERT__NODE__NODE__INIT;
	int r = node_fill(node, &msg, &a);

	return r == 0 && msg.n_addresses ? output_set(m, XDS_NODE, node->name, &msg.base) : r;
}

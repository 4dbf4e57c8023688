/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/mesh_nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "net/cidr.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "ztunnel/node_port.h"
#include "ztunnel/reflist.h"
#include "ztunnel/state.h"

struct mesh_nodes {
	struct hamt *table, *ranges;
	struct map *by_name; /* struct mesh_node, counted */
};

static void *node_ref(void *p)
{
	struct mesh_node *n = p;

	atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
	return n;
}

static void node_unref(void *p)
{
	struct mesh_node *n = p;

	if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) == 1) {
		free(n->ranges);
		free(n);
	}
}

static const struct hamt_ops node_ops = {.ref = node_ref, .unref = node_unref};

static void *nodes_ref(void *value)
{
	struct reflist *l = several_of(value);

	return l ? several_value(reflist_ref(l)) : node_ref(value);
}

static void nodes_unref(void *value)
{
	if (several_of(value))
		reflist_unref(several_of(value));
	else
		node_unref(value);
}

const struct hamt_ops mesh_nodes_hamt_ops = {.ref = nodes_ref, .unref = nodes_unref};

/* Where two claim one address the answer must not depend on who came last. */
static int compare_nodes(const void *a, const void *b)
{
	return strcmp(((const struct mesh_node *)a)->name, ((const struct mesh_node *)b)->name);
}

/* @added takes the place of @gone; either may be NULL. */
static int table_change(struct mesh_nodes *n, const struct mesh_node *gone, struct mesh_node *added)
{
	/* naming it as gone too keeps it single where an address is listed twice */
	const struct reflist_edit in = {
		.ops = &node_ops, .gone = added, .added = added, .compare = compare_nodes};
	const struct reflist_edit out = {.ops = &node_ops, .gone = gone, .compare = compare_nodes};
	int r = 0;

	for (size_t i = 0; gone && i < gone->addrs_count && r == 0; i++)
		r = several_change(n->table, &gone->addrs[i], sizeof(gone->addrs[i]), &out);
	for (size_t i = 0; gone && i < gone->ranges_count && r == 0; i++)
		r = several_change(n->ranges, &gone->ranges[i], sizeof(gone->ranges[i]), &out);
	for (size_t i = 0; added && i < added->addrs_count && r == 0; i++)
		r = several_change(n->table, &added->addrs[i], sizeof(added->addrs[i]), &in);
	for (size_t i = 0; added && i < added->ranges_count && r == 0; i++)
		r = several_change(n->ranges, &added->ranges[i], sizeof(added->ranges[i]), &in);
	return r;
}

static int ranges_read(struct mesh_node *n, const Culvert__Node__Node *m)
{
	n->ranges = calloc(m->n_pod_ranges + 1, sizeof(*n->ranges));
	if (!n->ranges)
		return -ENOMEM;
	for (; n->ranges_count < m->n_pod_ranges; n->ranges_count++) {
		struct cidr c;

		if (cidr_parse(m->pod_ranges[n->ranges_count], &c) < 0)
			return -EBADMSG;
		n->ranges[n->ranges_count] = (struct pod_range){cidr_mask(&c).addr, c.len};
	}
	return 0;
}

static int addrs_read(struct mesh_node *n, const Culvert__Node__Node *m)
{
	for (; n->addrs_count < m->n_addresses; n->addrs_count++) {
		const ProtobufCBinaryData *a = &m->addresses[n->addrs_count];

		if (cv_addr_from_bytes(a->data, a->len, &n->addrs[n->addrs_count]) < 0)
			return -EBADMSG;
	}
	return 0;
}

static int node_new(const char *name, const Culvert__Node__Node *m, struct mesh_node **ret)
{
	size_t bytes = m->n_addresses * sizeof(struct cv_addr), len = strlen(name) + 1;
	struct mesh_node *n = calloc(1, sizeof(*n) + bytes + len);
	int r;

	if (!n)
		return -ENOMEM;
	atomic_init(&n->refs, 1);
	n->name = memcpy((char *)n->addrs + bytes, name, len);
	r = addrs_read(n, m);
	if (r == 0)
		r = ranges_read(n, m);
	if (r < 0)
		node_unref(n);
	else
		*ret = n;
	return r;
}

int mesh_nodes_put(struct mesh_nodes *n, const char *name, const void *packed, size_t len)
{
	Culvert__Node__Node *m = culvert__node__node__unpack(NULL, len, packed);
	struct mesh_node *old = map_get_str(n->by_name, name), *node = NULL;
	int r;

	if (!m)
		return -EBADMSG;
	r = node_new(name, m, &node);
	culvert__node__node__free_unpacked(m, NULL);
	if (r < 0)
		return r;
	r = map_put_str(n->by_name, name, node);
	if (r < 0) {
		node_unref(node);
		return r;
	}
	r = table_change(n, old, node);
	if (old)
		node_unref(old);
	return r;
}

int mesh_nodes_del(struct mesh_nodes *n, const char *name)
{
	struct mesh_node *old = map_del_str(n->by_name, name);
	int r;

	if (!old)
		return 0;
	r = table_change(n, old, NULL);
	node_unref(old);
	return r;
}

int mesh_nodes_for_each(const struct mesh_nodes *n, int (*fn)(void *arg, const char *name),
			void *arg)
{
	int r = 0;

	map_for_each (n->by_name, it) {
		r = fn(arg, it.key);
		if (r != 0)
			break;
	}
	return r;
}

int node_ports_change(struct hamt *table, const struct service_def *d,
		      const struct reflist_edit *edit)
{
	int r = 0;

	for (size_t i = 0; i < d->node_ports_count && r == 0; i++)
		r = several_change(table, &d->node_ports[i].node_port, sizeof(uint16_t), edit);
	return r;
}

bool mesh_nodes_has_pods(const struct hamt *ranges, const struct cv_addr *addr)
{
	struct cidr c = {.addr = *addr, .len = CIDR_FULL};

	/* also where there are none: nobody asks but while something is wrong */
	do {
		const struct pod_range key = {cidr_mask(&c).addr, c.len};

		if (hamt_get(ranges, &key, sizeof(key)))
			return true;
	} while (c.len-- > (cv_addr_is_v4(addr) ? CIDR_V4 : 0));
	return false;
}

int mesh_nodes_new(struct hamt *table, struct hamt *ranges, struct mesh_nodes **ret)
{
	struct mesh_nodes *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->table = table;
	n->ranges = ranges;
	if (map_new(&n->by_name) < 0) {
		free(n);
		return -ENOMEM;
	}
	*ret = n;
	return 0;
}

struct mesh_nodes *mesh_nodes_free(struct mesh_nodes *n)
{
	if (!n)
		return NULL;
	map_for_each (n->by_name, it)
		node_unref(it.value);
	map_free(n->by_name);
	free(n);
	return NULL;
}

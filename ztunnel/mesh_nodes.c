/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/mesh_nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "net/cidr.h"
#include "xds/node.h"
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
		xds_node_free(n->is);
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

/* @edit of all that @node has. */
static int node_edit(struct mesh_nodes *n, const struct mesh_node *node,
		     const struct reflist_edit *edit)
{
	const struct xds_node *is = node->is;
	int r = 0;

	for (size_t i = 0; i < is->addrs_count && r == 0; i++)
		r = several_change(n->table, &is->addrs[i], sizeof(is->addrs[i]), edit);
	for (size_t i = 0; i < is->ranges_count && r == 0; i++) {
		const struct pod_range key = {is->ranges[i].addr, is->ranges[i].len};

		r = several_change(n->ranges, &key, sizeof(key), edit);
	}
	return r;
}

/* @added takes the place of @gone; either may be NULL. */
static int table_change(struct mesh_nodes *n, const struct mesh_node *gone, struct mesh_node *added)
{
	/* naming it as gone too keeps it single where an address is listed twice */
	const struct reflist_edit in = {
		.ops = &node_ops, .gone = added, .added = added, .compare = compare_nodes};
	const struct reflist_edit out = {.ops = &node_ops, .gone = gone, .compare = compare_nodes};
	int r = gone ? node_edit(n, gone, &out) : 0;

	return r == 0 && added ? node_edit(n, added, &in) : r;
}

static int node_new(const char *name, const void *packed, size_t len, struct mesh_node **ret)
{
	size_t size = strlen(name) + 1;
	struct mesh_node *n = calloc(1, sizeof(*n) + size);
	int r;

	if (!n)
		return -ENOMEM;
	atomic_init(&n->refs, 1);
	memcpy(n->name, name, size);
	r = xds_node_read(packed, len, &n->is);
	if (r < 0)
		node_unref(n);
	else
		*ret = n;
	return r;
}

int mesh_nodes_put(struct mesh_nodes *n, const char *name, const void *packed, size_t len)
{
	struct mesh_node *old = map_get_str(n->by_name, name), *node = NULL;
	int r = node_new(name, packed, len, &node);

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

/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/node.h"

#include <errno.h>
#include <stdlib.h>

#include "userspace/lib/xds/node.pb-c.h"
#include "xds/unpack.h"

#define UNPACK_BLOCK 1000

static int fill(const Culvert__Node__Node *m, struct xds_node *n)
{
	struct cidr c;

	for (; n->addrs_count < m->n_addresses; n->addrs_count++) {
		const ProtobufCBinaryData *a = &m->addresses[n->addrs_count];

		if (cv_addr_from_bytes(a->data, a->len, &n->addrs[n->addrs_count]) < 0)
			return -EBADMSG;
	}
	for (; n->ranges_count < m->n_pod_ranges; n->ranges_count++) {
		if (cidr_parse(m->pod_ranges[n->ranges_count], &c) < 0)
			return -EBADMSG;
		n->ranges[n->ranges_count] = cidr_mask(&c);
	}
	return 0;
}

int xds_node_read(const void *packed, size_t len, struct xds_node **ret)
{
	_cleanup_(xds_node_freep) struct xds_node *n = NULL;
	_cleanup_(unpack_resetp) struct unpack unpack;
	const Culvert__Node__Node *m;
	int r;

	unpack_init(&unpack, UNPACK_BLOCK);
	m = culvert__node__node__unpack(&unpack.memory, len, packed);
	if (!m)
		return unpack_error(&unpack);
	n = calloc(1, sizeof(*n) + m->n_addresses * sizeof(n->addrs[0]) +
			      m->n_pod_ranges * sizeof(n->ranges[0]));
	if (!n)
		return -ENOMEM;
	_Static_assert(_Alignof(struct cidr) == _Alignof(struct cv_addr), "one after the other");
	n->ranges = (struct cidr *)(n->addrs + m->n_addresses);
	r = fill(m, n);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(n);
	return 0;
}

struct xds_node *xds_node_free(struct xds_node *n)
{
	free(n);
	return NULL;
}

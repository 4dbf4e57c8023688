/* SPDX-License-Identifier: Apache-2.0 */
/* host_ports - the table of hostPorts. */
#include <arpa/inet.h>
#include <string.h>

#include "net/addr.h"
#include "ztunnel/node_port.h"
#include "ztunnel/state_internal.h"

/* One that is not in the mesh keeps what it has without a mesh. */
static size_t count_of(const struct workload *w)
{
	return w && w->rare->host_ports && w->protocol == WORKLOAD_HBONE
		       ? w->rare->host_ports->count
		       : 0;
}

/* A pod that ends and the one after it may have one port for a moment. */
static int compare_holders(const void *a, const void *b)
{
	const struct workload *x = a, *y = b;

	if (x->is_healthy != y->is_healthy)
		return x->is_healthy ? -1 : 1;
	return strcmp(x->uid, y->uid);
}

int host_ports_change(struct hamt *table, const struct workload *gone, struct workload *added)
{
	const struct reflist_edit in = {
		.ops = &workload_hamt_ops, .added = added, .compare = compare_holders};
	const struct reflist_edit out = {
		.ops = &workload_hamt_ops, .gone = gone, .compare = compare_holders};
	int r = 0;

	for (size_t i = 0; i < count_of(gone) && r == 0; i++)
		r = several_change(table, &gone->rare->host_ports->items[i].at,
				   sizeof(struct cv_sockaddr), &out);
	for (size_t i = 0; i < count_of(added) && r == 0; i++)
		r = several_change(table, &added->rare->host_ports->items[i].at,
				   sizeof(struct cv_sockaddr), &in);
	return r;
}

static const struct cv_addr *addr_like(const struct workload *w, const struct cv_addr *like)
{
	for (size_t i = 0; i < w->addrs_count; i++)
		if (cv_addr_is_v4(&w->addrs[i]) == cv_addr_is_v4(like))
			return &w->addrs[i];
	return NULL;
}

static uint16_t target_at(const struct workload *w, const struct cv_sockaddr *at)
{
	for (size_t i = 0; i < w->rare->host_ports->count; i++)
		if (cv_sockaddr_equal(&w->rare->host_ports->items[i].at, at))
			return w->rare->host_ports->items[i].target_port;
	return 0;
}

bool host_ports_find(const struct hamt *table, const struct cv_sockaddr *at, struct frontend *ret)
{
	const struct workload *w = several_at(hamt_get(table, at, sizeof(*at)), 0);
	const struct cv_addr *addr = w ? addr_like(w, &at->addr) : NULL;

	if (!addr)
		return false;
	*ret = (struct frontend){.workload = w,
				 .to = {.addr = *addr, .port = htons(target_at(w, at))}};
	return true;
}

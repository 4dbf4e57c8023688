/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* flow - direct connections whose packets skip the host's stack: one entry of cv_flows for each
 * direction, from the moment that both ends have seen ESTABLISHED until both have seen CLOSE.
 * Without an entry, or where something else works in tc on one of the links, the host routes. */
#include "bpf/lib/conn.h"
#include "bpf/lib/event.h"

/* The other direction, with the cookie of the pod that has the address. Returns false when there is
 * none. */
static __always_inline bool flow_reverse(const struct cv_tuple *t, struct cv_tuple *ret)
{
	__u64 *cookie = bpf_map_lookup_elem(&cv_locals, &t->remote);

	if (!cookie)
		return false;
	*ret = tuple_reverse(t);
	ret->netns_cookie = *cookie;
	return true;
}

static __always_inline int flow_add(const struct cv_tuple *t, const struct cv_link *to, __u32 flags)
{
	struct cv_flow f = {
		.ifindex = to->ifindex,
		.flags = flags,
		.time_ns = bpf_ktime_get_ns(),
	};

	__builtin_memcpy(f.macs, to->macs, sizeof(f.macs));
	return bpf_map_update_elem(&cv_flows, t, &f, BPF_ANY);
}

/* `t` as the client sees it. `flags` of cv_link that both ends must have. */
static __noinline void flow_begin(const struct cv_tuple *t, __u64 dst_cookie, __u32 flags)
{
	struct cv_link *from, *to;
	struct cv_tuple back;
	__u32 flow = flags & CV_LINK_HANDSHAKE ? CV_FLOW_HANDSHAKE : 0;

	if (!t || t->netns_cookie == dst_cookie)
		return;
	from = bpf_map_lookup_elem(&cv_pod_links, &t->netns_cookie);
	to = bpf_map_lookup_elem(&cv_pod_links, &dst_cookie);
	if (!from || !to || (from->flags & to->flags & flags) != flags)
		return;
	back = tuple_reverse(t);
	back.netns_cookie = dst_cookie;
	if (flow_add(t, to, flow) || flow_add(&back, from, flow))
		count(CV_FLOW_FULL);
	else
		count(CV_FLOW);
}

/* One end is done; `t` as it sees it. The packets that close the other still take the same way. */
static __noinline void flow_end(const struct cv_tuple *t)
{
	struct cv_flow *own, *other;
	struct cv_tuple back;

	if (!t)
		return;
	own = bpf_map_lookup_elem(&cv_flows, t);
	if (!own || !flow_reverse(t, &back))
		return;
	own->flags |= CV_FLOW_CLOSED;
	other = bpf_map_lookup_elem(&cv_flows, &back);
	if (other && !(other->flags & CV_FLOW_CLOSED))
		return;
	bpf_map_delete_elem(&cv_flows, t);
	bpf_map_delete_elem(&cv_flows, &back);
}

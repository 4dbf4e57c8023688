/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* frame - TCP over IPv4 or IPv6 in a plain frame, read where its bytes lie. What is otherwise, or
 * not all there, is nobody's here: see lib/packet.h for what reads everything. */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "bpf/lib/packet.h"

struct frame_vlan {
	__be16 tag, proto;
};

static __always_inline bool frame_read_v4(const struct iphdr *ip, void *end, struct cv_tuple *t,
					  void **tcp)
{
	if ((void *)(ip + 1) > end || ip->ihl != 5 || ip->protocol != CV_PROTO_TCP ||
	    (ip->frag_off & bpf_htons(CV_IP_FRAGMENT)))
		return false;
	t->local = addr_from_v4(ip->saddr);
	t->remote = addr_from_v4(ip->daddr);
	*tcp = (void *)(ip + 1);
	return true;
}

static __always_inline bool frame_read_v6(const struct ipv6hdr *ip, void *end, struct cv_tuple *t,
					  void **tcp)
{
	if ((void *)(ip + 1) > end || ip->nexthdr != CV_PROTO_TCP)
		return false;
	__builtin_memcpy(&t->local, &ip->saddr, sizeof(t->local));
	__builtin_memcpy(&t->remote, &ip->daddr, sizeof(t->remote));
	*tcp = (void *)(ip + 1);
	return true;
}

/* With no VLAN tag or one, no options, no fragments. `t` as the sender sees it, no cookie. NULL: it
 * is otherwise, or not TCP. */
static __always_inline struct tcp_start *frame_read(void *data, void *end, struct cv_tuple *t)
{
	void *ip, *l4 = NULL;
	struct ethhdr *eth = data;
	struct frame_vlan *vlan;
	struct tcp_start *tcp;
	__be16 proto;
	bool is_tcp;

	ip = eth + 1;
	if (ip > end)
		return NULL;
	proto = eth->h_proto;
	if (proto_is_vlan(proto)) {
		vlan = ip;
		ip = vlan + 1;
		if (ip > end)
			return NULL;
		proto = vlan->proto;
	}
	if (proto == bpf_htons(ETH_P_IP))
		is_tcp = frame_read_v4(ip, end, t, &l4);
	else
		is_tcp = proto == bpf_htons(ETH_P_IPV6) && frame_read_v6(ip, end, t, &l4);
	tcp = l4;
	if (!is_tcp || (void *)(tcp + 1) > end)
		return NULL;
	t->local_port = tcp->source;
	t->remote_port = tcp->dest;
	return tcp;
}

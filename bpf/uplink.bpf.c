/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* uplink - plaintext that policy refuses from anyone does not cost the node an skb. Hook: XDP on
 * the interface that other nodes are reached by, where the operator names it; never on pods' links,
 * which would lose their segmentation offload. Reads: cv_locals, cv_pods, cv_inbound_rules,
 * cv_verdicts, cv_generation. Writes: cv_counters, cv_events. On doubt: pass. It saves work only:
 * whatever passes is decided on in the pod, by cv_lookup and ztunnel. */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "bpf/lib/event.h"
#include "bpf/lib/exclude.h"
#include "bpf/lib/packet.h"
#include "bpf/lib/verdict.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define UPLINK_EVENT_EVERY 64 /* drops: a flood must not fill the ring */

struct uplink_vlan {
	__be16 tag, proto;
};

/* Source and destination of a packet that begins a connection. */
struct uplink_syn {
	struct cv_sockaddr from, to;
};

static __always_inline bool uplink_read_v4(const struct iphdr *ip, void *end, struct uplink_syn *s,
					   void **tcp)
{
	if ((void *)(ip + 1) > end || ip->ihl != 5 || ip->protocol != CV_PROTO_TCP ||
	    (ip->frag_off & bpf_htons(CV_IP_FRAGMENT)))
		return false;
	s->from.addr = addr_from_v4(ip->saddr);
	s->to.addr = addr_from_v4(ip->daddr);
	*tcp = (void *)(ip + 1);
	return true;
}

static __always_inline bool uplink_read_v6(const struct ipv6hdr *ip, void *end,
					   struct uplink_syn *s, void **tcp)
{
	if ((void *)(ip + 1) > end || ip->nexthdr != CV_PROTO_TCP)
		return false;
	__builtin_memcpy(&s->from.addr, &ip->saddr, sizeof(s->from.addr));
	__builtin_memcpy(&s->to.addr, &ip->daddr, sizeof(s->to.addr));
	*tcp = (void *)(ip + 1);
	return true;
}

/* Plain frames and one VLAN tag, no options, no fragments: what is otherwise passes. */
static __always_inline bool uplink_read(struct xdp_md *ctx, struct uplink_syn *s)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *ip, *l4 = NULL;
	struct ethhdr *eth = data;
	struct uplink_vlan *vlan;
	struct tcp_start *tcp;
	__be16 proto;
	bool is_tcp;

	ip = eth + 1;
	if (ip > end)
		return false;
	proto = eth->h_proto;
	if (proto_is_vlan(proto)) {
		vlan = ip;
		ip = vlan + 1;
		if (ip > end)
			return false;
		proto = vlan->proto;
	}
	if (proto == bpf_htons(ETH_P_IP))
		is_tcp = uplink_read_v4(ip, end, s, &l4);
	else
		is_tcp = proto == bpf_htons(ETH_P_IPV6) && uplink_read_v6(ip, end, s, &l4);
	tcp = l4;
	if (!is_tcp || (void *)(tcp + 1) > end ||
	    (tcp->flags & (CV_TCP_SYN | CV_TCP_ACK)) != CV_TCP_SYN)
		return false;
	s->from.port = tcp->source;
	s->to.port = tcp->dest;
	return true;
}

/* The pod of this node that it is for, 0: none that is captured, or not in plaintext. */
static __always_inline __u64 uplink_pod(const struct uplink_syn *s)
{
	__u64 *cookie = bpf_map_lookup_elem(&cv_locals, &s->to.addr);
	struct cv_pod *pod;

	if (!cookie || s->to.port == bpf_htons(CV_HBONE_PORT))
		return 0;
	pod = pod_find(*cookie);
	if (!pod || !(pod->flags & CV_POD_CAPTURE) || inbound_is_excluded(&s->to.addr, s->to.port))
		return 0;
	return *cookie;
}

static __noinline int uplink_drop(const struct uplink_syn *s, __u64 cookie)
{
	struct cv_event ev = {.reason = CV_UPLINK_PLAINTEXT, .netns_cookie = cookie};
	__u32 reason = CV_UPLINK_PLAINTEXT;
	__u64 *n = bpf_map_lookup_elem(&cv_counters, &reason);

	if (s && n && *n % UPLINK_EVENT_EVERY == 0) {
		ev.local = s->to;
		ev.remote = s->from;
		event_send(&ev);
	} else {
		count(reason);
	}
	return XDP_DROP;
}

SEC("xdp")
int cv_uplink(struct xdp_md *ctx)
{
	struct uplink_syn s = {};
	__u64 cookie;

	if (!uplink_read(ctx, &s))
		return XDP_PASS;
	cookie = uplink_pod(&s);
	if (!cookie || direct_verdict(CV_SRC_ANYONE, cookie, s.to.port) != DIRECT_DENIED)
		return XDP_PASS;
	return uplink_drop(&s, cookie);
}

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* guard - what an enrolled pod sends, as it enters the host. Nothing in plaintext leaves it for the
 * mesh that was not vouched for, whatever the pod did to get round its sockets' hooks; and packets
 * of established direct connections are handed to the other pod without the host's stack. Hook: tc
 * ingress on the host's end of each pod's link. Reads: cv_links, cv_pods, cv_pod_addrs,
 * cv_workloads, cv_services, cv_vouched, cv_exempt, cv_outbound_rules, cv_flows. Writes:
 * cv_counters, cv_events. On doubt: drop. What passes is left to the programs behind us. */
#include <linux/pkt_cls.h>

#include "bpf/lib/conn.h"
#include "bpf/lib/event.h"
#include "bpf/lib/exclude.h"
#include "bpf/lib/packet.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define GUARD_PASS TC_ACT_UNSPEC /* also TCX_NEXT */

static __noinline int guard_drop(const struct packet *p, __u32 reason)
{
	struct cv_event ev = {.reason = reason};

	if (p) {
		ev.netns_cookie = p->tuple.netns_cookie;
		ev.local.addr = p->tuple.local;
		ev.local.port = p->tuple.local_port;
		ev.remote.addr = p->tuple.remote;
		ev.remote.port = p->tuple.remote_port;
	}
	event_send(&ev);
	return TC_ACT_SHOT;
}

static __always_inline bool addr_is_link_local6(const struct cv_addr *a)
{
	return (a->w[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* IPv6 announces itself before its addresses are known to anyone, DHCP before there is one. */
static __always_inline bool source_is_own(const struct packet *p)
{
	if (pod_owns_addr(p->tuple.netns_cookie, &p->tuple.local))
		return true;
	return p->proto != CV_PROTO_TCP &&
	       (addr_is_any(&p->tuple.local) || addr_is_link_local6(&p->tuple.local));
}

/* TCP, or what could turn out to be once it is put together. */
static __always_inline bool fragment_is_tcp(const struct packet *p)
{
	return p->is_fragment && (p->proto == CV_PROTO_TCP || proto_is_ext(p->proto));
}

static __always_inline bool syn_is_vouched(const struct packet *p)
{
	struct cv_tuple key = tuple_vouched(&p->tuple);

	return bpf_map_lookup_elem(&cv_vouched, &key) || bpf_map_lookup_elem(&cv_exempt, &p->tuple);
}

static __noinline int guard_syn(const struct cv_pod *pod, const struct packet *p)
{
	struct cv_sockaddr to = {};

	if (!pod || !p)
		return TC_ACT_SHOT;
	to.addr = p->tuple.remote;
	to.port = p->tuple.remote_port;
	if (p->has_options) /* source routes: where it goes is not where it says */
		return guard_drop(p, CV_GUARD_MALFORMED);
	if (to.port == bpf_htons(CV_HBONE_PORT) || !dest_is_mesh(&to) || syn_is_vouched(p) ||
	    outbound_is_excluded(pod, p->tuple.netns_cookie, &to))
		return GUARD_PASS;
	return guard_drop(p, CV_GUARD_PLAINTEXT);
}

/* Handshakes have flows only where the host filters nothing: see cv_sockops. */
static __always_inline int guard_forward(struct __sk_buff *skb, const struct packet *p)
{
	struct cv_flow *f = bpf_map_lookup_elem(&cv_flows, &p->tuple);

	if (!f || ((p->tcp_flags & CV_TCP_SYN) && !(f->flags & CV_FLOW_HANDSHAKE)))
		return GUARD_PASS;
	if (bpf_skb_store_bytes(skb, 0, f->macs, sizeof(f->macs), 0))
		return GUARD_PASS;
	return bpf_redirect_peer(f->ifindex, 0);
}

SEC("tc")
int cv_guard(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	__u64 *cookie = bpf_map_lookup_elem(&cv_links, &ifindex);
	struct packet p = {};
	struct cv_pod *pod;
	int kind, r;

	if (!cookie)
		return GUARD_PASS;
	pod = pod_find(*cookie);
	if (!pod || !(pod->flags & CV_POD_CAPTURE))
		return GUARD_PASS;
	kind = packet_read(skb, &p);
	p.tuple.netns_cookie = *cookie;
	if (kind == PACKET_OTHER)
		return GUARD_PASS;
	if (kind == PACKET_BAD)
		return guard_drop(&p, CV_GUARD_MALFORMED);
	if (!source_is_own(&p))
		return guard_drop(&p, CV_GUARD_SOURCE);
	if (fragment_is_tcp(&p))
		return guard_drop(&p, CV_GUARD_FRAGMENT);
	if (p.proto != CV_PROTO_TCP)
		return GUARD_PASS;
	if ((p.tcp_flags & (CV_TCP_SYN | CV_TCP_ACK)) == CV_TCP_SYN) {
		r = guard_syn(pod, &p);
		if (r != GUARD_PASS)
			return r;
	}
	return guard_forward(skb, &p);
}

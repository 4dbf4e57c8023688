/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* guard - what an enrolled pod sends, as it enters the host. Nothing in plaintext leaves it for the
 * mesh that was not vouched for, whatever the pod did to get round its sockets' hooks; and packets
 * of established direct connections are handed to the other pod without the host's stack. Hook: tc
 * ingress on the host's end of each pod's link. Reads: cv_links, cv_pods, cv_pod_addrs,
 * cv_workloads, cv_services, cv_directs, cv_exempt, cv_outbound_rules. Writes: cv_counters,
 * cv_events. On doubt: drop. What passes is left to the programs behind us. */
#include <linux/pkt_cls.h>

#include "bpf/lib/conn.h"
#include "bpf/lib/exclude.h"
#include "bpf/lib/frame.h"
#include "bpf/lib/packet_drop.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define GUARD_PASS       TC_ACT_UNSPEC /* also TCX_NEXT */
#define GUARD_NOT_DIRECT (-2)          /* no action of tc's */

/* IPv6 announces itself before its addresses are known to anyone, DHCP before there is one. */
static __always_inline bool source_is_own(const struct packet *p)
{
	if (pod_owns_addr(p->tuple.netns_cookie, &p->tuple.local))
		return true;
	return p->proto != CV_PROTO_TCP &&
	       (addr_is_any(&p->tuple.local) || addr_is_link_local6(&p->tuple.local));
}

/* Not by cv_vouched: what a pod dials at an address of its own has no way out. One that comes here
 * was begun while the pod had given itself the address, which is another's now. */
static __always_inline bool syn_is_vouched(const struct packet *p)
{
	struct cv_direct *d;
	bool is_client;

	if (bpf_map_lookup_elem(&cv_exempt, &p->tuple))
		return true;
	d = direct_find(&p->tuple, &is_client);
	return d && is_client && d->src_cookie == p->tuple.netns_cookie;
}

static __noinline int guard_syn(const struct cv_pod *pod, const struct packet *p)
{
	struct cv_sockaddr to = {};

	if (!pod || !p)
		return TC_ACT_SHOT;
	to.addr = p->tuple.remote;
	to.port = p->tuple.remote_port;
	if (p->has_options) /* source routes: where it goes is not where it says */
		return packet_drop(p, CV_GUARD_MALFORMED);
	if (to.port == bpf_htons(CV_HBONE_PORT) || !dest_is_mesh(&to) || syn_is_vouched(p) ||
	    outbound_is_excluded(pod, p->tuple.netns_cookie, &to))
		return GUARD_PASS;
	return packet_drop(p, CV_GUARD_PLAINTEXT);
}

/* The host sees the handshake, where it may filter pods. */
static __always_inline bool direct_is_short(const struct cv_direct *d, __u8 tcp_flags)
{
	__u32 open = CV_DIRECT_SHORT | CV_DIRECT_ESTABLISHED | CV_DIRECT_ACCEPTED;

	if (d->flags & CV_DIRECT_SHORT_SYN)
		return true;
	return (d->flags & open) == open && !(tcp_flags & CV_TCP_SYN);
}

static __always_inline int guard_forward(struct __sk_buff *skb, const struct cv_way *to)
{
	if (bpf_skb_store_bytes(skb, 0, to->macs, sizeof(to->macs), 0))
		return GUARD_PASS;
	return bpf_redirect_peer(to->ifindex, 0);
}

/* Of a packet of a direct connection that comes from the link of the end that it says, nothing more
 * need be asked: its SYN was vouched for. One look-up, whether it may skip the host's stack or not.
 */
static __noinline int guard_direct(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 ifindex = skb->ifindex;
	struct cv_tuple t = {};
	struct cv_direct *d;
	bool is_client;
	__u8 flags;

	if (!frame_read(data, end, &t, &flags))
		return GUARD_NOT_DIRECT;
	d = direct_find(&t, &is_client);
	if (!d || ifindex != (is_client ? d->to_client.ifindex : d->to_server.ifindex))
		return GUARD_NOT_DIRECT;
	if (!direct_is_short(d, flags))
		return GUARD_PASS;
	return guard_forward(skb, is_client ? &d->to_server : &d->to_client);
}

/* What the pod of this link may not send. */
static __noinline int guard_packet(const struct cv_pod *pod, const struct packet *p)
{
	if (!pod || !p)
		return TC_ACT_SHOT;
	if (!source_is_own(p))
		return packet_drop(p, CV_GUARD_SOURCE);
	if (fragment_is_tcp(p))
		return packet_drop(p, CV_GUARD_FRAGMENT);
	if (p->proto == CV_PROTO_TCP && (p->tcp_flags & (CV_TCP_SYN | CV_TCP_ACK)) == CV_TCP_SYN)
		return guard_syn(pod, p);
	return GUARD_PASS;
}

SEC("tc")
int cv_guard(struct __sk_buff *skb)
{
	int kind, action = guard_direct(skb);
	__u32 ifindex = skb->ifindex;
	struct packet p = {};
	struct cv_pod *pod;
	__u64 *cookie;

	if (action != GUARD_NOT_DIRECT)
		return action;
	kind = packet_read(skb, &p);
	cookie = bpf_map_lookup_elem(&cv_links, &ifindex);
	if (kind == PACKET_OTHER || !cookie)
		return GUARD_PASS;
	pod = pod_find(*cookie);
	if (!pod || !(pod->flags & CV_POD_CAPTURE)) /* has left: we stay for what is above */
		return GUARD_PASS;
	p.tuple.netns_cookie = *cookie;
	if (kind == PACKET_BAD)
		return packet_drop(&p, CV_GUARD_MALFORMED);
	return guard_packet(pod, &p);
}

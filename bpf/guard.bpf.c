/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* guard - what an enrolled pod sends, as it enters the host. Nothing in plaintext leaves it for the
 * mesh that was not vouched for, whatever the pod did to get round its sockets' hooks; and packets
 * of direct connections are handed to the other pod without the host's stack. Hook: tc ingress on
 * the host's end of each pod's link. Reads: cv_links, cv_pods, cv_pod_addrs, cv_workloads,
 * cv_services, cv_directs, cv_exempt, cv_outbound_rules. Writes: cv_counters, cv_events. On doubt:
 * drop. What passes is left to the programs behind us. */
#include <linux/pkt_cls.h>

#include "bpf/lib/conn.h"
#include "bpf/lib/exclude.h"
#include "bpf/lib/frame.h"
#include "bpf/lib/packet_data.h"
#include "bpf/lib/packet_drop.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define GUARD_PASS TC_ACT_UNSPEC /* also TCX_NEXT */
/* No actions of tc's. */
#define GUARD_NOT_DIRECT (-2)
#define GUARD_ODD        (-3) /* not known: no plain frame of TCP */
#define GUARD_ELSEWHERE  (-4) /* of a direct connection that has begun on other links */

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
	if (to.port == bpf_htons(CV_HBONE_PORT) || !dest_takes_no_plaintext(&to) ||
	    syn_is_vouched(p) || outbound_is_excluded(pod, p->tuple.netns_cookie, &to))
		return GUARD_PASS;
	return packet_drop(p, CV_GUARD_PLAINTEXT);
}

/* Of what the host is not to lead there: cv_guard_in would stop it, where it arrives. */
static __always_inline int guard_forward(struct __sk_buff *skb, const struct cv_way *to)
{
	if (bpf_skb_store_bytes(skb, 0, to->macs, sizeof(to->macs), 0))
		return TC_ACT_SHOT;
	return bpf_redirect_peer(to->ifindex, 0);
}

/* A beginning, on its way past the host's filters, by a way that others may see: it carries
 * nothing. What the server answers cannot be made up by who has not seen it. */
static __always_inline int guard_handshake(struct __sk_buff *skb, const struct packet *p,
					   struct cv_direct *d)
{
	if (packet_has_data(skb, p->l3, p->l4))
		return packet_drop(p, CV_GUARD_PLAINTEXT);
	if (p->tuple.netns_cookie == d->dst_cookie && (p->tcp_flags & CV_TCP_ACK)) {
		d->answer_seq = p->tcp_seq;
		__sync_fetch_and_or(&d->flags, CV_DIRECT_ANSWERED);
	}
	return GUARD_PASS;
}

/* The host sees the SYNs, where it may filter pods. Not the ACK: its conntrack would keep what has
 * been established for days, as it never sees the end, and what is half open for a minute. A server
 * that refuses waits for nothing. */
static __always_inline int guard_lead(struct __sk_buff *skb, const struct packet *p,
				      struct cv_direct *d, bool is_client)
{
	if (!is_client && (p->tcp_flags & CV_TCP_RST) && !(d->flags & CV_DIRECT_ACCEPTED))
		__sync_fetch_and_and(&d->flags, ~CV_DIRECT_LET_IN);
	if ((p->tcp_flags & CV_TCP_SYN) && !(d->flags & CV_DIRECT_SHORT_SYN))
		return guard_handshake(skb, p, d);
	return guard_forward(skb, is_client ? &d->to_server : &d->to_client);
}

static __always_inline bool direct_is_of_link(const struct __sk_buff *skb,
					      const struct cv_direct *d, bool is_client)
{
	return skb->ifindex == (is_client ? d->to_client.ifindex : d->to_server.ifindex);
}

/* Of a packet of a direct connection that comes from the link of the end that it says, nothing more
 * need be asked: its SYN was vouched for. */
static __noinline int guard_direct(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct packet p = {};
	struct tcp_start *tcp = frame_read(data, end, &p.tuple);
	struct cv_direct *d;
	bool is_client;

	if (!tcp)
		return GUARD_ODD;
	d = direct_find(&p.tuple, &is_client);
	if (!d)
		return GUARD_NOT_DIRECT;
	if (!direct_is_of_link(skb, d, is_client))
		return GUARD_ELSEWHERE;
	p.tuple.netns_cookie = is_client ? d->src_cookie : d->dst_cookie;
	p.tcp_flags = tcp->flags;
	p.tcp_seq = tcp->seq;
	p.l4 = (void *)tcp - data;
	p.l3 = p.l4 - (addr_is_v4(&p.tuple.local) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	return guard_lead(skb, &p, d, is_client);
}

/* The node has dialled the pod, and is answered: see vouch_closed(). */
static __always_inline void guard_answer(const struct packet *p)
{
	struct cv_tuple key = cv_tuple_turned(&p->tuple);
	struct cv_vouch *v;

	key.netns_cookie = 0;
	v = bpf_map_lookup_elem(&cv_vouched, &key);
	if (v && vouch_is_hosts(v))
		__sync_fetch_and_or(&v->time_s, CV_VOUCH_ANSWERED);
}

/* What no plain frame is of a direct connection, options or a jumbogram, goes the same way. */
static __always_inline int guard_odd(struct __sk_buff *skb, const struct packet *p)
{
	bool is_client;
	struct cv_direct *d = direct_find(&p->tuple, &is_client);

	if (!d)
		return GUARD_PASS;
	return direct_is_of_link(skb, d, is_client) ? guard_lead(skb, p, d, is_client)
						    : packet_drop(p, CV_GUARD_PLAINTEXT);
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
	if (p->proto != CV_PROTO_TCP)
		return GUARD_PASS;
	if ((p->tcp_flags & (CV_TCP_SYN | CV_TCP_ACK)) == CV_TCP_SYN)
		return guard_syn(pod, p);
	if (p->tcp_flags & CV_TCP_SYN)
		guard_answer(p);
	return GUARD_PASS;
}

SEC("tc")
int cv_guard(struct __sk_buff *skb)
{
	int kind, action = guard_direct(skb);
	bool is_odd = action == GUARD_ODD;
	__u32 ifindex = skb->ifindex;
	struct packet p = {};
	struct cv_pod *pod;
	__u64 *cookie;

	if (action != GUARD_NOT_DIRECT && action != GUARD_ELSEWHERE && !is_odd)
		return action;
	kind = packet_read(skb, &p);
	cookie = bpf_map_lookup_elem(&cv_links, &ifindex);
	if (kind == PACKET_OTHER || !cookie)
		return GUARD_PASS;
	p.tuple.netns_cookie = *cookie;
	/* Another link of the same pod's: the host's way, and out of the node where its other end
	 * is gone. */
	if (action == GUARD_ELSEWHERE)
		return packet_drop(&p, CV_GUARD_PLAINTEXT);
	pod = pod_find(*cookie);
	if (!pod || !(pod->flags & CV_POD_CAPTURE)) /* has left: we stay for what is above */
		return GUARD_PASS;
	if (kind == PACKET_BAD)
		return packet_drop(&p, CV_GUARD_MALFORMED);
	action = guard_packet(pod, &p);
	return is_odd && action == GUARD_PASS && p.proto == CV_PROTO_TCP ? guard_odd(skb, &p)
									 : action;
}

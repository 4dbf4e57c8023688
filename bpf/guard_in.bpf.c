/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* guard_in - what reaches an enrolled pod by the host's way. Where the pods of a node share a
 * bridge that way is whoever's who forges ARP, and everywhere a host without a reverse-path filter
 * takes forged addresses: what says that it belongs to a connection that the mesh vouches for is
 * let through only where it can do no harm. Hook: tc egress on the host's end of each pod's link.
 * And what the node dials by a Service is vouched for here, where it has the pod's address. Reads:
 * cv_links, cv_locals, cv_pods, cv_directs. Reads and writes: cv_vouched. Writes: cv_counters,
 * cv_events. On doubt: drop. What passes is left to the programs behind us. */
#include <linux/pkt_cls.h>

#include "bpf/lib/conn.h"
#include "bpf/lib/frame.h"
#include "bpf/lib/netns.h"
#include "bpf/lib/packet_data.h"
#include "bpf/lib/packet_drop.h"
#include "bpf/lib/pod.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ARRIVAL_PASS TC_ACT_UNSPEC /* also TCX_NEXT */

/* All but its SYNs comes past the host, so what may come here is a beginning that says nothing: the
 * client's; the answer, with the number that the server has chosen; a reset by the host's filters.
 */
static __always_inline bool direct_may_arrive(struct __sk_buff *skb, const struct packet *p,
					      const struct cv_direct *d, bool is_to_server)
{
	__u8 flags = p->tcp_flags & (CV_TCP_SYN | CV_TCP_ACK | CV_TCP_RST | CV_TCP_FIN);
	__u32 opened = is_to_server ? CV_DIRECT_ACCEPTED : CV_DIRECT_ESTABLISHED;

	if (p->fragment || (d->flags & CV_DIRECT_SHORT_SYN) || packet_has_data(skb, p->l3, p->l4))
		return false;
	if (flags & CV_TCP_RST)
		return !(d->flags & opened);
	if (is_to_server)
		return flags == CV_TCP_SYN && !(d->flags & CV_DIRECT_CLIENT_CLOSED);
	return flags == (CV_TCP_SYN | CV_TCP_ACK) && (d->flags & CV_DIRECT_ANSWERED) &&
	       d->answer_seq == p->tcp_seq;
}

/* The node may dial its pods whatever their policy (the kubelet's probes). What it sends itself has
 * come in by no interface; what another pod sends in its name has. */
static __always_inline bool is_forged_dial(const struct __sk_buff *skb, const struct cv_tuple *t)
{
	struct cv_vouch *v;

	if (!skb->ingress_ifindex)
		return false;
	v = bpf_map_lookup_elem(&cv_vouched, t);
	return v && vouch_is_hosts(v);
}

/* What cv_sockops has seen the node dial is a Service's address, which kube-proxy's rules have made
 * the pod's since. No socket but the node's own is the packet's: those of what it leads on for
 * others are theirs, or none. */
static __noinline int dial_vouch(struct __sk_buff *skb, const struct cv_tuple *t)
{
	struct cv_vouch v = {.netns_cookie = (__u32)cfg.host_cookie};

	if (!t || !cfg.host_cookie || skb_sender_cookie(skb) != cfg.host_cookie ||
	    t->remote_port == bpf_htons(CV_HBONE_PORT))
		return 0;
	if (!bpf_map_lookup_elem(&cv_locals, &t->remote))
		return 0;
	v.time_s = vouch_now() | CV_VOUCH_LED;
	return bpf_map_update_elem(&cv_vouched, t, &v, BPF_NOEXIST);
}

static __always_inline bool is_forged(struct __sk_buff *skb, const struct packet *p)
{
	bool is_to_server;
	struct cv_direct *d = direct_find(&p->tuple, &is_to_server);

	return d ? !direct_may_arrive(skb, p, d, is_to_server) : is_forged_dial(skb, &p->tuple);
}

/* In the event the pod's end is the local one. */
static __always_inline int arrival_drop(struct packet *p, __u64 cookie, __u32 reason)
{
	p->tuple = cv_tuple_turned(&p->tuple);
	p->tuple.netns_cookie = cookie;
	return packet_drop(p, reason);
}

static __noinline int arrival_judge(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	__u64 *cookie = bpf_map_lookup_elem(&cv_links, &ifindex);
	struct packet p = {};
	struct cv_pod *pod;
	int kind;

	if (!cookie)
		return ARRIVAL_PASS;
	kind = packet_read(skb, &p);
	pod = pod_find(*cookie);
	if (kind == PACKET_BAD && pod && (pod->flags & CV_POD_CAPTURE))
		return arrival_drop(&p, *cookie, CV_GUARD_MALFORMED);
	if (kind != PACKET_IP || p.proto != CV_PROTO_TCP || p.offset || !is_forged(skb, &p))
		return ARRIVAL_PASS;
	return arrival_drop(&p, *cookie, CV_GUARD_FORGED);
}

SEC("tc")
int cv_guard_in(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct cv_tuple t = {};
	struct tcp_start *tcp = frame_read(data, end, &t);
	bool is_to_server, is_syn;

	/* Most packets: neither a direct connection's nor a dial of the node's. */
	if (!tcp || direct_find(&t, &is_to_server) || is_forged_dial(skb, &t))
		return arrival_judge(skb);
	is_syn = (tcp->flags & (CV_TCP_SYN | CV_TCP_ACK)) == CV_TCP_SYN;
	if (is_syn && !skb->ingress_ifindex)
		(void)dial_vouch(skb, &t);
	return ARRIVAL_PASS;
}

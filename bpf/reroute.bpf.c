/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* reroute - what a machine inside a pod sends (istio.io/reroute-virtual-interfaces) counts as the
 * pod's own: its connections to the mesh end at ztunnel's outbound listener, at the address that
 * they asked for, and its questions to nameservers at ztunnel's resolver. Hook: tc ingress and
 * egress of the machine's interface, in the pod's namespace. Reads: cv_pods, cv_pod_addrs,
 * cv_workloads, cv_services, cv_ranges, cv_registered, cv_outbound_rules, cv_steer, cv_sockets.
 * Reads and writes: cv_given, cv_given_pods. Writes: cv_asking, cv_counters, cv_events. On doubt:
 * refuse a beginning, and what goes on with one that ztunnel was given; what belongs to neither is
 * forwarded as without us, past the guard on the pod's link. */
#include "bpf/lib/exclude.h"
#include "bpf/lib/netns.h"
#include "bpf/lib/packet_drop.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define REROUTE_PASS TC_ACT_UNSPEC /* also TCX_NEXT */
#define DNS_PORT     53
#define UDP_SOURCE   0 /* offsets in UDP's header */
#define UDP_CHECKSUM 6

enum way {
	WAY_ALONE, /* as the pod's routes say */
	WAY_TUNNEL,
	WAY_DNS,
	WAY_REFUSE,
};

static __always_inline int reroute_local(struct __sk_buff *skb)
{
	skb->mark = CV_REROUTE_MARK_LOCAL;
	return REROUTE_PASS;
}

/* The machine is told at once, by ICMP. */
static __always_inline int reroute_refuse(struct __sk_buff *skb, const struct packet *p,
					  __u32 reason)
{
	packet_tell(p, reason);
	skb->mark = CV_REROUTE_MARK_REFUSE;
	return REROUTE_PASS;
}

/* The order of capture_tcp(), but that nothing goes direct. */
static __noinline int reroute_way(const struct cv_pod *pod, const struct packet *p)
{
	struct cv_sockaddr to = {};

	if (!pod || !p)
		return WAY_REFUSE;
	to.addr = p->tuple.remote;
	to.port = p->tuple.remote_port;
	if (outbound_is_excluded(pod, p->tuple.netns_cookie, &to))
		return WAY_ALONE;
	if (dest_is_mesh(&to))
		return WAY_TUNNEL;
	if ((pod->flags & CV_POD_DNS) && to.port == bpf_htons(DNS_PORT))
		return WAY_DNS;
	if (dest_is_for_ztunnel(pod, &to))
		return WAY_TUNNEL;
	if ((pod->flags & CV_POD_REGISTRY_ONLY) && !dest_is_registered(&to))
		return WAY_REFUSE;
	return WAY_ALONE;
}

static __always_inline struct bpf_sock *socket_find(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock_tuple t = {};

	if (addr_is_v4(&p->tuple.remote)) {
		t.ipv4.saddr = p->tuple.local.w[3];
		t.ipv4.daddr = p->tuple.remote.w[3];
		t.ipv4.sport = p->tuple.local_port;
		t.ipv4.dport = p->tuple.remote_port;
		return bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(t.ipv6.saddr, &p->tuple.local, sizeof(t.ipv6.saddr));
	__builtin_memcpy(t.ipv6.daddr, &p->tuple.remote, sizeof(t.ipv6.daddr));
	t.ipv6.sport = p->tuple.local_port;
	t.ipv6.dport = p->tuple.remote_port;
	return bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
}

static __always_inline struct cv_given_pod *given_pod(const struct packet *p)
{
	return bpf_map_lookup_elem(&cv_given_pods, &p->tuple.netns_cookie);
}

static __always_inline struct cv_given_pod *given_pod_make(const struct packet *p)
{
	struct cv_given_pod none = {}, *g = given_pod(p);

	if (g)
		return g;
	(void)bpf_map_update_elem(&cv_given_pods, &p->tuple.netns_cookie, &none, BPF_NOEXIST);
	return given_pod(p);
}

/* Where a connection that ztunnel was given goes on once no socket has it: plaintext that is meant
 * for a tunnel must not take the pod's routes. WAY_ALONE: it was not given. */
static __noinline __u32 reroute_given(const struct cv_pod *pod, const struct packet *p)
{
	__u32 *given = bpf_map_lookup_elem(&cv_given, &p->tuple);
	struct cv_given_pod *g;
	__u32 way;

	if (given)
		return *given;
	g = given_pod(p);
	if (!g || !g->is_beyond)
		return WAY_ALONE;
	way = reroute_way(pod, p);
	return way == WAY_REFUSE ? WAY_ALONE : way; /* nor was such a one */
}

/* What finds no room is counted the first time: from then on nobody looks for any. Returns false
 * when that cannot be remembered either. */
static __noinline bool reroute_remember(const struct packet *p, __u32 way)
{
	struct cv_given_pod *g = given_pod_make(p);

	if (!g)
		return false;
	if (g->is_beyond)
		return true;
	if (g->count < CV_GIVEN_OF_POD &&
	    !bpf_map_update_elem(&cv_given, &p->tuple, &way, BPF_ANY)) {
		__sync_fetch_and_add(&g->count, 1);
		return true;
	}
	g->is_beyond = 1;
	count(CV_DROP_MAP_FULL);
	return true;
}

static __noinline void reroute_forget(const struct packet *p)
{
	struct cv_given_pod *g;

	if (bpf_map_delete_elem(&cv_given, &p->tuple))
		return;
	g = given_pod(p);
	if (g && g->count)
		__sync_fetch_and_add(&g->count, -1);
}

/* State of the socket that the packet belongs to, if only of one that is coming or going; 0: none.
 * cv_lookup sees the question too, where there is none. */
static __noinline __u32 reroute_state(struct __sk_buff *skb, const struct packet *p)
{
	__u32 zero = 0, state, *is_asking = bpf_map_lookup_elem(&cv_asking, &zero);
	struct bpf_sock *sk;

	if (!p || !is_asking)
		return 0;
	*is_asking = 1;
	sk = socket_find(skb, p);
	*is_asking = 0;
	if (!sk)
		return 0;
	state = sk->state;
	bpf_sk_release(sk);
	return state == BPF_TCP_LISTEN ? 0 : state;
}

/* A beginning that meets the rest of an earlier connection: the kernel ends that and looks for a
 * listener. cv_lookup, which cannot know its namespace, must not find another pod's for it. */
static __noinline bool reroute_is_steered(const struct packet *p)
{
	struct cv_steer_key key = {};
	struct bpf_sock *sk;

	if (!p)
		return true;
	key.local = p->tuple.remote;
	key.kind =
		p->tuple.remote_port == bpf_htons(CV_HBONE_PORT) ? CV_STEER_HBONE : CV_STEER_PLAIN;
	sk = bpf_map_lookup_elem(&cv_steer, &key);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

static __always_inline struct bpf_sock *listener_find(struct __sk_buff *skb, __u8 proto, __u16 port)
{
	struct bpf_sock_tuple t = {};

	t.ipv4.saddr = t.ipv4.daddr = bpf_htonl(0x7f000001);
	t.ipv4.dport = bpf_htons(port);
	if (proto == CV_PROTO_TCP)
		return bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	return bpf_sk_lookup_udp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
}

/* Gives the packet to ztunnel's listener at this port of the pod's, which takes both families.
 * Returns false when there is none. */
static __noinline bool reroute_assign(struct __sk_buff *skb, __u8 proto, __u16 port)
{
	struct bpf_sock *sk = port ? listener_find(skb, proto, port) : NULL;
	struct cv_socket *st;
	bool is_given;

	if (!sk)
		return false;
	st = bpf_sk_storage_get(&cv_sockets, sk, NULL, 0);
	is_given = st && st->kind == CV_SOCKET_LISTEN && !bpf_sk_assign(skb, sk, 0);
	bpf_sk_release(sk);
	return is_given;
}

/* A beginning; or what follows one and has no socket: ztunnel's listener takes the ACK to a SYN
 * cookie, and resets the rest. */
static __noinline int reroute_give(struct __sk_buff *skb, const struct cv_pod *pod,
				   const struct packet *p, __u32 way)
{
	__u16 port;

	if (!pod || !p)
		return TC_ACT_SHOT;
	if (p->has_options) /* source routes: where it goes is not where it says */
		return packet_drop(p, CV_GUARD_MALFORMED);
	if (way == WAY_REFUSE)
		return reroute_refuse(skb, p, CV_DROP_REGISTRY_ONLY);
	port = pod->outbound_ports[0];
	if (way == WAY_DNS)
		port = p->proto == CV_PROTO_TCP ? pod->dns_tcp_port : pod->dns_udp_ports[0];
	if (!(pod->flags & CV_POD_ALIVE) || !reroute_assign(skb, p->proto, port))
		return reroute_refuse(skb, p, CV_DROP_ZTUNNEL_DEAD);
	if (p->proto == CV_PROTO_TCP && !(p->tcp_flags & CV_TCP_SYN))
		return reroute_local(skb);
	if (p->proto == CV_PROTO_TCP && !reroute_remember(p, way))
		return reroute_refuse(skb, p, CV_DROP_MAP_FULL);
	count(way == WAY_DNS ? CV_DNS : CV_TUNNEL);
	return reroute_local(skb);
}

/* A pod that leaves keeps what is open. */
static __always_inline int reroute_tcp(struct __sk_buff *skb, const struct cv_pod *pod,
				       const struct packet *p)
{
	bool is_syn = (p->tcp_flags & (CV_TCP_SYN | CV_TCP_ACK)) == CV_TCP_SYN;
	__u32 way, state = reroute_state(skb, p);

	if (state && !(is_syn && state == BPF_TCP_TIME_WAIT && reroute_is_steered(p))) {
		if (p->tcp_flags & (CV_TCP_FIN | CV_TCP_RST)) /* has no more to send */
			reroute_forget(p);
		return reroute_local(skb);
	}
	if (!(p->tcp_flags & CV_TCP_SYN)) {
		way = reroute_given(pod, p);
		return way ? reroute_give(skb, pod, p, way) : REROUTE_PASS;
	}
	reroute_forget(p); /* an earlier one */
	if (!is_syn || !(pod->flags & CV_POD_CAPTURE))
		return REROUTE_PASS;
	way = reroute_way(pod, p);
	if (way != WAY_ALONE)
		return reroute_give(skb, pod, p, way);
	count(CV_PASSTHROUGH);
	return REROUTE_PASS;
}

static __always_inline int reroute_udp(struct __sk_buff *skb, const struct cv_pod *pod,
				       struct packet *p)
{
	__u32 wanted = CV_POD_CAPTURE | CV_POD_DNS;
	__be16 ports[2];

	if ((pod->flags & wanted) != wanted || bpf_skb_load_bytes(skb, p->l4, ports, sizeof(ports)))
		return REROUTE_PASS;
	p->tuple.local_port = ports[0];
	p->tuple.remote_port = ports[1];
	if (ports[1] != bpf_htons(DNS_PORT))
		return REROUTE_PASS;
	return reroute_give(skb, pod, p, WAY_DNS);
}

SEC("tc")
int cv_reroute(struct __sk_buff *skb)
{
	struct packet p = {};
	int kind = packet_read(skb, &p);
	struct cv_pod *pod;

	if (kind == PACKET_OTHER)
		return REROUTE_PASS;
	p.tuple.netns_cookie = skb_netns_cookie(skb);
	pod = pod_find(p.tuple.netns_cookie);
	if (!pod)
		return REROUTE_PASS;
	if ((pod->flags & CV_POD_CAPTURE) && kind == PACKET_BAD)
		return packet_drop(&p, CV_GUARD_MALFORMED);
	if ((pod->flags & CV_POD_CAPTURE) && fragment_is_tcp(&p))
		return packet_drop(&p, CV_GUARD_FRAGMENT);
	if (kind == PACKET_BAD || p.fragment || pod_is_self(p.tuple.netns_cookie, &p.tuple.remote))
		return REROUTE_PASS;
	if (p.proto == CV_PROTO_TCP)
		return reroute_tcp(skb, pod, &p);
	return p.proto == CV_PROTO_UDP ? reroute_udp(skb, pod, &p) : REROUTE_PASS;
}

/* Forwarded packets, and other sockets of the pod's, may have the same port. */
static __always_inline bool skb_is_answer(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct cv_socket *st;

	if (!sk)
		return false;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return false;
	st = bpf_sk_storage_get(&cv_sockets, sk, NULL, 0);
	return st && st->kind == CV_SOCKET_LISTEN;
}

/* ztunnel's resolver answers from the address of the nameserver that was asked, but from its own
 * port. */
SEC("tc")
int cv_reroute_back(struct __sk_buff *skb)
{
	__be16 source, dns = bpf_htons(DNS_PORT);
	struct packet p = {};
	struct cv_pod *pod;

	if (!skb_is_answer(skb) || packet_read(skb, &p) != PACKET_IP || p.proto != CV_PROTO_UDP ||
	    p.fragment || bpf_skb_load_bytes(skb, p.l4 + UDP_SOURCE, &source, sizeof(source)))
		return REROUTE_PASS;
	p.tuple.netns_cookie = skb_netns_cookie(skb);
	pod = pod_find(p.tuple.netns_cookie);
	if (!pod || !source || source != bpf_htons(pod->dns_udp_ports[0]) ||
	    pod_is_self(p.tuple.netns_cookie, &p.tuple.local))
		return REROUTE_PASS;
	if (bpf_l4_csum_replace(skb, p.l4 + UDP_CHECKSUM, source, dns,
				BPF_F_MARK_MANGLED_0 | sizeof(source)) ||
	    bpf_skb_store_bytes(skb, p.l4 + UDP_SOURCE, &dns, sizeof(dns), 0))
		return TC_ACT_SHOT;
	return REROUTE_PASS;
}

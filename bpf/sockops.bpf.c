/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sockops - what must be known about a connection before its SYN leaves: the peer to be shown, and
 * that it is vouched for. Hook: sockops (CONNECT, ACTIVE_ESTABLISHED, PASSIVE_ESTABLISHED, STATE).
 * Reads: cv_pods, cv_pod_addrs, cv_pod_links, cv_locals, cv_workloads, cv_frontends,
 * cv_generation, cv_direct_told. Writes: cv_conns, cv_directs, cv_direct_untold, cv_vouched,
 * cv_shares, cv_sockets, cv_verdicts, cv_counters, cv_events, cv_direct_events. On doubt: no entry,
 * so ztunnel is shown no destination and sk_lookup does not let the SYN through. */
#include "bpf/lib/congestion.h"
#include "bpf/lib/conn.h"
#include "bpf/lib/direct_tell.h"
#include "bpf/lib/event.h"
#include "bpf/lib/pod.h"
#include "bpf/lib/share_entry.h"
#include "bpf/lib/tcp.h"
#include "bpf/lib/verdict.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Everything is read, volatile, before it is chosen from: see sock_local(). */
static __always_inline struct cv_tuple tuple_from_sockops(struct bpf_sock_ops *ops, __u64 cookie)
{
	volatile struct bpf_sock_ops *ctx = ops;
	struct cv_tuple t = {.netns_cookie = cookie};
	__be32 local4 = ctx->local_ip4, remote4 = ctx->remote_ip4;

	t.local.w[0] = ctx->local_ip6[0];
	t.local.w[1] = ctx->local_ip6[1];
	t.local.w[2] = ctx->local_ip6[2];
	t.local.w[3] = ctx->local_ip6[3];
	t.remote.w[0] = ctx->remote_ip6[0];
	t.remote.w[1] = ctx->remote_ip6[1];
	t.remote.w[2] = ctx->remote_ip6[2];
	t.remote.w[3] = ctx->remote_ip6[3];
	if (ctx->family == CV_AF_INET) {
		t.local = addr_from_v4(local4);
		t.remote = addr_from_v4(remote4);
	}
	t.local_port = bpf_htons(ctx->local_port);
	t.remote_port = bpf_htons(bpf_ntohl(ctx->remote_port));
	return t;
}

static __always_inline void sockops_drop(const struct cv_tuple *t, __u32 reason)
{
	struct cv_event ev = {
		.reason = reason,
		.netns_cookie = t->netns_cookie,
		.local = {.addr = t->local, .port = t->local_port},
		.remote = {.addr = t->remote, .port = t->remote_port},
	};

	event_send(&ev);
}

/* Keeps what the accepting end is to be shown. */
static __always_inline int sockops_remember(struct bpf_sock_ops *ctx, const struct cv_tuple *t,
					    const struct cv_socket *st)
{
	struct cv_conn c = {.shown = st->shown, .time_ns = bpf_ktime_get_ns()};

	if (st->flags & CV_SOCKET_REDIRECTED)
		c.flags |= CV_CONN_TO_ZTUNNEL;
	c.flags |= (__u16)(st->flags / CV_SOCKET_CHOICE) * CV_CONN_CHOICE;
	if (tcp_is_mptcp(ctx->sk))
		c.flags |= CV_CONN_MPTCP;
	return conn_put(t, &c);
}

/* The node's own are beyond all shares. */
static __always_inline int sockops_vouch(const struct cv_tuple *t)
{
	struct cv_tuple key = tuple_vouched(t);
	struct cv_vouch v = {
		.time_s = vouch_now(),
		.netns_cookie = t->netns_cookie,
	};

	if (vouch_is_hosts(&v))
		return vouch_put(&key, &v);
	if (!share_take(t->netns_cookie, CV_SHARE_VOUCHED))
		return -1;
	if (!vouch_put(&key, &v))
		return 0;
	share_give(t->netns_cookie, CV_SHARE_VOUCHED);
	return -1;
}

/* Without a record: is it a connection to another pod of this node that connect(2) let go there?
 * That was as a direct one: a tunnel begins at a loopback address, and where annotations exclude
 * something the direct ones have a record. */
static __always_inline bool direct_is_unrecorded(struct bpf_sock_ops *ctx, const struct cv_pod *pod,
						 const struct cv_tuple *t, __u64 dst)
{
	__u32 all = CV_POD_CAPTURE | CV_POD_DIRECT | CV_POD_OUT_RULES;

	return (pod->flags & all) == (CV_POD_CAPTURE | CV_POD_DIRECT) && dst != t->netns_cookie &&
	       dest_is_mesh_workload(&t->remote) && !tcp_is_mptcp(ctx->sk);
}

/* Did connect(2) mean it to go direct? Returns the cookie of the pod that it goes to, 0: no. */
static __always_inline __u64 direct_meant(struct bpf_sock_ops *ctx, const struct cv_pod *pod,
					  const struct cv_socket *st, const struct cv_tuple *t)
{
	__u64 *dst;

	if (addr_is_loopback(&t->remote) || (st && st->kind != CV_SOCKET_APP))
		return 0;
	if (st && (st->flags & CV_SOCKET_DIRECT))
		return st->dst_port == t->remote_port ? st->dst_cookie : 0;
	if (st && (st->flags & CV_SOCKET_SHOWN))
		return 0;
	dst = bpf_map_lookup_elem(&cv_locals, &t->remote);
	return dst && direct_is_unrecorded(ctx, pod, t, *dst) ? *dst : 0;
}

/* A verdict says nothing of that: connections by a tunnel have one, too. */
static __always_inline bool direct_is_wanted_by(__u64 cookie)
{
	struct cv_pod *pod = pod_find(cookie);

	return pod && (pod->flags & CV_POD_DIRECT);
}

/* One that the mesh knows the pod by, or else one that it has given itself. */
static __always_inline bool direct_has_source(const struct cv_tuple *t, struct cv_direct *d)
{
	__u64 *owner = bpf_map_lookup_elem(&cv_locals, &t->local);

	if (owner && *owner == t->netns_cookie)
		return true;
	d->flags |= CV_DIRECT_SELF_GIVEN;
	return pod_owns_addr(t->netns_cookie, &t->local);
}

/* What connect(2) found must hold still: the policy, the pods, the tuple. On doubt no entry: the
 * SYN then lands on ztunnel's plaintext listener. */
static __always_inline bool direct_still_holds(const struct cv_tuple *t, __u64 dst)
{
	__u64 *now = bpf_map_lookup_elem(&cv_locals, &t->remote);

	return now && *now == dst && direct_is_wanted_by(t->netns_cookie) &&
	       direct_is_wanted_by(dst) &&
	       direct_verdict(t->netns_cookie, dst, t->remote_port) == DIRECT_ALLOWED;
}

/* From link to link, for good, whatever becomes of the links: the host's way may end anywhere once
 * an end is gone. Of a pod to itself nothing comes to a link. Returns false where there is none. */
static __always_inline bool direct_ways(struct cv_direct *d)
{
	struct cv_link *from = bpf_map_lookup_elem(&cv_pod_links, &d->src_cookie);
	struct cv_link *to = bpf_map_lookup_elem(&cv_pod_links, &d->dst_cookie);

	if (!from || !to)
		return false;
	d->to_client = from->way;
	d->to_server = to->way;
	if ((from->flags & to->flags & CV_LINK_HANDSHAKE) || d->src_cookie == d->dst_cookie)
		d->flags |= CV_DIRECT_SHORT_SYN;
	return true;
}

static __noinline void on_connect_direct(struct bpf_sock_ops *ctx, const struct cv_socket *st,
					 const struct cv_tuple *t, __u64 dst)
{
	struct cv_direct d = {.time_ns = bpf_ktime_get_ns(), .dst_cookie = dst};
	struct cv_tuple key;

	if (!t)
		return;
	d.src_cookie = t->netns_cookie;
	d.asked.addr = t->remote;
	d.asked.port = t->remote_port;
	if (st && (st->flags & CV_SOCKET_DIRECT))
		d.asked = st->shown;
	if (tuple_pair(t, &key))
		d.flags |= CV_DIRECT_TURNED;
	if (!direct_has_source(t, &d) || !direct_still_holds(t, dst) || !direct_ways(&d))
		sockops_drop(t, CV_DROP_NOT_DIRECT);
	else if (direct_put(&key, &d))
		sockops_drop(t, CV_DROP_MAP_FULL);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* The node's own processes may look after its pods, whatever their policy: the kubelet's probes.
 * What the node only forwards has no socket here. */
static __noinline void on_connect_host(struct bpf_sock_ops *ctx)
{
	struct cv_tuple t = tuple_from_sockops(ctx, cfg.host_cookie);

	if (!bpf_map_lookup_elem(&cv_locals, &t.remote) ||
	    t.remote_port == bpf_htons(CV_HBONE_PORT))
		return;
	if (sockops_vouch(&t))
		sockops_drop(&t, CV_DROP_MAP_FULL);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* The source port is chosen, the SYN has not left. */
static __noinline void on_connect(struct bpf_sock_ops *ctx, const struct cv_socket *st,
				  const struct cv_tuple *t)
{
	bool is_shown, is_vouched;

	if (!t)
		return;
	is_shown = st && (st->flags & CV_SOCKET_SHOWN);
	is_vouched = (!st || st->kind == CV_SOCKET_APP || st->kind == CV_SOCKET_DIAL_APP) &&
		     pod_owns_addr(t->netns_cookie, &t->remote);
	if (!is_shown && !is_vouched)
		return;
	if (is_shown && sockops_remember(ctx, t, st))
		sockops_drop(t, CV_DROP_MAP_FULL);
	if (is_vouched && sockops_vouch(t))
		sockops_drop(t, CV_DROP_MAP_FULL);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* What the child is shown: the entry, but a redirect listener of ztunnel's takes redirected
 * connections only. */
static __always_inline struct cv_sockaddr sockops_shown(const struct cv_conn *c, bool is_ztunnel)
{
	struct cv_sockaddr nothing = {};

	if (!c || (is_ztunnel && !(c->flags & CV_CONN_TO_ZTUNNEL)))
		return nothing;
	return c->shown;
}

/* What connect(2) has left to ztunnel, where ztunnel finds it. @flags: of cv_conns. Global, as
 * destination_find(). */
__noinline int choice_hand_on(struct bpf_sock_ops *ctx, __u32 flags)
{
	int choice = (__u16)(flags / CV_CONN_CHOICE);

	if (choice)
		(void)bpf_setsockopt(ctx, CV_SOL_SOCKET, CV_SO_PRIORITY, &choice, sizeof(choice));
	return 0;
}

/* It counts once both ends have seen ESTABLISHED. */
static __always_inline void direct_both(struct cv_direct *d, __u32 flag)
{
	__u32 both = CV_DIRECT_ESTABLISHED | CV_DIRECT_ACCEPTED;
	__u32 was = __sync_fetch_and_or(&d->flags, flag);

	if ((was & both) != both && ((was | flag) & both) == both)
		count(CV_FLOW);
}

/* Returns false when it is not a direct connection's server that has accepted. */
static __noinline bool on_accept_direct(struct bpf_sock_ops *ctx)
{
	struct cv_tuple t = tuple_from_sockops(ctx, bpf_get_netns_cookie(ctx));
	struct cv_direct *d;
	bool is_client;

	if (addr_is_loopback(&t.remote) || ctx->local_port == CV_HBONE_PORT)
		return false;
	d = direct_find(&t, &is_client);
	if (!d || is_client || d->dst_cookie != t.netns_cookie)
		return false;
	direct_both(d, CV_DIRECT_ACCEPTED);
	congestion_local(ctx);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	return true;
}

/* The vouch that an accepting end tells, as its dialler does. No namespace is in the key, and a pod
 * that gives itself the addresses of both ends dials and accepts the same tuple on its own. */
static __always_inline struct cv_vouch *vouch_of_own(const struct cv_tuple *key, __u64 cookie)
{
	struct cv_vouch *v = bpf_map_lookup_elem(&cv_vouched, key);

	return v && pod_owns_addr(cookie, &key->remote) ? v : NULL;
}

/* The node's own dial is remembered until both ends close: cv_guard_in lets nobody break into it.
 */
static __always_inline void vouch_accepted(struct bpf_sock_ops *ctx, const struct cv_tuple *t)
{
	struct cv_tuple key = tuple_vouched(t);
	struct cv_vouch *v = vouch_of_own(&key, t->netns_cookie);

	if (v && vouch_is_hosts(v)) {
		__sync_fetch_and_or(&v->time_s, CV_VOUCH_ACCEPTED);
		bpf_sock_ops_cb_flags_set(ctx,
					  ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	} else if (v) {
		vouch_forget(&key, v);
	}
}

/* The pod that has answered, and not accepted, waits for an ACK, and one that has accepted for
 * more: it would be another's now. The entry stays as long as it waits. */
static __always_inline void vouch_closed(const struct cv_tuple *t)
{
	struct cv_tuple key = tuple_vouched(t);
	struct cv_vouch *v = bpf_map_lookup_elem(&cv_vouched, &key);
	__u32 was = 0;

	if (!v)
		return;
	if (vouch_is_hosts(v))
		was = __sync_fetch_and_or(&v->time_s, CV_VOUCH_CLOSED);
	if (!(was & (CV_VOUCH_ANSWERED | CV_VOUCH_ACCEPTED)) || (was & CV_VOUCH_LEFT))
		vouch_forget(&key, v);
}

/* The pod's end of a dial of the node's. Of one that was led there the node's end is not known. */
static __always_inline void vouch_left(const struct cv_tuple *t)
{
	struct cv_tuple turned = cv_tuple_turned(t), key = tuple_vouched(&turned);
	struct cv_vouch *v = vouch_of_own(&key, t->netns_cookie);

	if (v && vouch_is_hosts(v) &&
	    (__sync_fetch_and_or(&v->time_s, CV_VOUCH_LEFT) & (CV_VOUCH_CLOSED | CV_VOUCH_LED)))
		vouch_forget(&key, v);
}

static __noinline void on_accept_tunnel(struct bpf_sock_ops *ctx, const struct cv_pod *pod,
					__u64 cookie)
{
	struct bpf_sock *sk = ctx->sk;
	struct cv_socket *st;
	struct cv_tuple t;
	struct cv_conn *c;
	__u32 flags = 0;
	bool is_ztunnel;

	if (!pod || !sk)
		return;
	t = tuple_from_sockops(ctx, cookie);
	t = cv_tuple_turned(&t);
	vouch_accepted(ctx, &t);
	is_ztunnel = pod_is_ztunnel_port(pod, ctx->local_port);
	c = bpf_map_lookup_elem(&cv_conns, &t);
	if (!c && !is_ztunnel)
		return;
	st = bpf_sk_storage_get(&cv_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!st) {
		sockops_drop(&t, CV_DROP_STORAGE);
		return;
	}
	if (addr_is_loopback(&t.local) || addr_is_loopback(&t.remote))
		congestion_local(ctx);
	st->shown = sockops_shown(c, is_ztunnel);
	st->flags = CV_SOCKET_SHOWN | (is_ztunnel ? CV_SOCKET_CHILD : 0);
	if (!st->shown.port)
		sockops_drop(&t, CV_DROP_NO_ORIGIN);
	if (c)
		flags = c->flags;
	if (c && !(flags & CV_CONN_MPTCP))
		conn_forget(&t);
	choice_hand_on(ctx, flags);
}

/* A machine inside the pod is connected at the address that it asked for, by cv_reroute: nobody but
 * ztunnel's listeners accepts at an address that is not the pod's. Returns false when it is not
 * that. */
static __noinline bool on_accept_rerouted(struct bpf_sock_ops *ctx, __u64 cookie)
{
	struct cv_tuple t = tuple_from_sockops(ctx, cookie);
	struct bpf_sock *sk = ctx->sk;
	struct cv_socket *st;

	if (!sk || pod_is_self(cookie, &t.local))
		return false;
	st = bpf_sk_storage_get(&cv_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!st) {
		sockops_drop(&t, CV_DROP_STORAGE);
		return true;
	}
	st->shown.addr = t.local;
	st->shown.port = t.local_port;
	st->flags = CV_SOCKET_SHOWN | CV_SOCKET_CHILD | CV_SOCKET_REROUTED;
	return true;
}

static __noinline void on_accept(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	struct cv_pod *pod = pod_find(cookie);

	if (!pod || ((pod->flags & CV_POD_REROUTE) && on_accept_rerouted(ctx, cookie)))
		return;
	if (!on_accept_direct(ctx))
		on_accept_tunnel(ctx, pod, cookie);
}

/* The dialling end of the ways to ztunnel and from it, within a pod. */
static __always_inline void on_established_local(struct bpf_sock_ops *ctx)
{
	struct cv_socket *st = NULL;
	struct bpf_sock *sk = ctx->sk;

	if (sk)
		st = bpf_sk_storage_get(&cv_sockets, sk, NULL, 0);
	if (st && ((st->flags & CV_SOCKET_REDIRECTED) || st->kind == CV_SOCKET_DIAL_APP))
		congestion_local(ctx);
}

static __noinline void on_established(struct bpf_sock_ops *ctx)
{
	struct cv_direct *d;
	struct cv_tuple t;
	bool is_client;

	/* Where it is a connection of ours, the CONNECT callback has set it. */
	if (!(ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG))
		return;
	t = tuple_from_sockops(ctx, bpf_get_netns_cookie(ctx));
	if (addr_is_loopback(&t.remote) || addr_is_loopback(&t.local)) {
		on_established_local(ctx);
		return;
	}
	d = direct_find(&t, &is_client);
	if (!d || !is_client || d->src_cookie != t.netns_cookie)
		return;
	direct_both(d, CV_DIRECT_ESTABLISHED);
	congestion_local(ctx);
	direct_tell(ctx, &t, d, CV_DIRECT_OPEN);
}

/* An endpoint that refused, one of several. */
static __always_inline void direct_avoid(const struct cv_direct *d)
{
	struct cv_service_key key = {.addr = d->asked.addr, .port = d->asked.port};
	struct cv_frontend *f = bpf_map_lookup_elem(&cv_frontends, &key);

	if (f && (f->count > 1 || f->ends[0].weight_end < f->weight))
		f->refused_s = frontend_now();
}

/* With its second end, or with a client that was never accepted; but a server that the SYN was let
 * in to, by the host's way, waits for an ACK, which would be another's now: cv_guard_in keeps all
 * from it that comes, as long as it waits. */
static __always_inline bool direct_is_over(__u32 was)
{
	if (was & CV_DIRECT_ACCEPTED)
		return was & (CV_DIRECT_CLIENT_CLOSED | CV_DIRECT_SERVER_CLOSED);
	return (was & (CV_DIRECT_LET_IN | CV_DIRECT_SHORT_SYN)) != CV_DIRECT_LET_IN;
}

/* Returns false when it is no end of a direct connection. A server's end that closes before one was
 * accepted is an earlier connection's, whose tuple has been taken again. */
static __noinline bool on_close_direct(struct bpf_sock_ops *ctx, const struct cv_tuple *t)
{
	struct cv_direct *d;
	struct cv_tuple key;
	bool is_client;
	__u32 was;

	if (!t || addr_is_loopback(&t->remote) || addr_is_loopback(&t->local))
		return false;
	d = direct_find(t, &is_client);
	if (!d || t->netns_cookie != (is_client ? d->src_cookie : d->dst_cookie))
		return false;
	if (!is_client && !(d->flags & CV_DIRECT_ACCEPTED))
		return true;
	was = __sync_fetch_and_or(&d->flags,
				  is_client ? CV_DIRECT_CLIENT_CLOSED : CV_DIRECT_SERVER_CLOSED);
	if (is_client)
		direct_tell(ctx, t, d, CV_DIRECT_CLOSE);
	if (is_client && !(was & CV_DIRECT_ESTABLISHED))
		direct_avoid(d);
	if (direct_is_over(was)) {
		tuple_pair(t, &key);
		direct_forget(&key, d->src_cookie);
	} else if (!(was & CV_DIRECT_ACCEPTED)) {
		d->time_ns = bpf_ktime_get_ns(); /* for the sweep */
	}
	return true;
}

/* The record of a dialling socket is what its connect left: it tells which maps can know of it. */
static __noinline void on_close_other(struct bpf_sock_ops *ctx, const struct cv_tuple *t)
{
	struct bpf_sock *sk = ctx->sk;
	struct cv_socket *st;

	if (!t || !sk)
		return;
	st = bpf_sk_storage_get(&cv_sockets, sk, NULL, 0);
	if (st && (st->flags & CV_SOCKET_SHOWN))
		conn_forget(t);
	if (st && (st->flags & CV_SOCKET_REDIRECTED))
		return;
	if (cfg.host_cookie && t->netns_cookie != cfg.host_cookie && !st)
		vouch_left(t);
	vouch_closed(t);
}

/* An end is done: the dialling one, or the accepting one of a direct connection. */
static __noinline void on_close(struct bpf_sock_ops *ctx)
{
	struct cv_tuple t = tuple_from_sockops(ctx, bpf_get_netns_cookie(ctx));

	if (!on_close_direct(ctx, &t))
		on_close_other(ctx, &t);
}

/* Most connections of a machine are not ours: they pay one look-up. */
static __noinline void on_dial(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_netns_cookie(ctx), dst;
	struct bpf_sock *sk = ctx->sk;
	struct cv_socket *st;
	struct cv_pod *pod;
	struct cv_tuple t;

	if (cfg.host_cookie && cookie == cfg.host_cookie) {
		on_connect_host(ctx);
		return;
	}
	pod = pod_find(cookie);
	if (!pod || !sk)
		return;
	t = tuple_from_sockops(ctx, cookie);
	st = bpf_sk_storage_get(&cv_sockets, sk, NULL, 0);
	dst = direct_meant(ctx, pod, st, &t);
	if (dst)
		on_connect_direct(ctx, st, &t, dst);
	else
		on_connect(ctx, st, &t);
}

SEC("sockops")
int cv_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_dial(ctx);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		on_established(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_accept(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			on_close(ctx);
		break;
	}
	return 1;
}

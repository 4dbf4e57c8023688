/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sockops - what must be known about a connection before its SYN leaves: the peer to be shown, and
 * that it is vouched for. Hook: sockops (CONNECT, ACTIVE_ESTABLISHED, PASSIVE_ESTABLISHED, STATE).
 * Reads: cv_pods, cv_pod_addrs, cv_pod_links, cv_workloads, cv_locals, cv_verdicts, cv_generation.
 * Writes: cv_conns, cv_directs, cv_flows, cv_vouched, cv_sockets, cv_counters, cv_events. On doubt:
 * no entry, so ztunnel is shown no destination and sk_lookup does not let the SYN through. */
#include "bpf/lib/conn.h"
#include "bpf/lib/direct.h"
#include "bpf/lib/event.h"
#include "bpf/lib/flow.h"
#include "bpf/lib/pod.h"
#include "bpf/lib/tcp.h"

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
	if (tcp_is_mptcp(ctx->sk))
		c.flags |= CV_CONN_MPTCP;
	return bpf_map_update_elem(&cv_conns, t, &c, BPF_ANY);
}

static __always_inline int sockops_vouch(const struct cv_tuple *t)
{
	struct cv_tuple key = tuple_vouched(t);
	struct cv_vouch v = {.time_ns = bpf_ktime_get_ns()};

	return bpf_map_update_elem(&cv_vouched, &key, &v, BPF_ANY);
}

/* The socket's record, where its connect(2) went direct. */
static __always_inline struct cv_socket *sockops_direct(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct cv_socket *st;

	if (!sk)
		return NULL;
	st = bpf_sk_storage_get(&cv_sockets, sk, NULL, 0);
	return st && (st->flags & CV_SOCKET_DIRECT) ? st : NULL;
}

/* The verdict is asked for once more: nothing but the pod, its verdict and the tuple as it now is
 * counts. On doubt no vouch: the SYN then lands on ztunnel's plaintext listener. */
static __noinline void on_connect_direct(struct bpf_sock_ops *ctx)
{
	struct cv_socket *st = sockops_direct(ctx);
	struct cv_direct d = {.time_ns = bpf_ktime_get_ns()};
	__u64 cookie = bpf_get_netns_cookie(ctx);
	struct cv_sockaddr to = {};
	struct cv_tuple t;

	if (!st)
		return;
	t = tuple_from_sockops(ctx, cookie);
	to.addr = t.remote;
	to.port = t.remote_port;
	d.asked = st->shown;
	d.dst_cookie = direct_destination(&to);
	if (!pod_owns_addr(cookie, &t.local) || !d.dst_cookie ||
	    direct_verdict(cookie, d.dst_cookie, to.port) != DIRECT_ALLOWED)
		sockops_drop(&t, CV_DROP_NOT_DIRECT);
	else if (bpf_map_update_elem(&cv_directs, &t, &d, BPF_ANY) || sockops_vouch(&t))
		sockops_drop(&t, CV_DROP_MAP_FULL);
	else
		flow_begin(&t, d.dst_cookie, CV_LINK_FORWARD | CV_LINK_HANDSHAKE);
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
static __noinline void on_connect(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	struct bpf_sock *sk = ctx->sk;
	struct cv_socket *st;
	struct cv_tuple t;
	bool is_shown, is_vouched;

	if (!sk || !pod_find(cookie))
		return;
	t = tuple_from_sockops(ctx, cookie);
	st = bpf_sk_storage_get(&cv_sockets, sk, NULL, 0);
	is_shown = st && (st->flags & CV_SOCKET_SHOWN);
	is_vouched = (!st || st->kind == CV_SOCKET_APP || st->kind == CV_SOCKET_DIAL_APP) &&
		     pod_owns_addr(cookie, &t.remote);
	if (!is_shown && !is_vouched)
		return;
	if (is_shown && sockops_remember(ctx, &t, st))
		sockops_drop(&t, CV_DROP_MAP_FULL);
	if (is_vouched && sockops_vouch(&t))
		sockops_drop(&t, CV_DROP_MAP_FULL);
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

/* Once both ends have seen ESTABLISHED. */
static __always_inline void direct_both(const struct cv_tuple *t, struct cv_direct *d, __u32 flag)
{
	__u32 both = CV_DIRECT_ESTABLISHED | CV_DIRECT_ACCEPTED;

	if (((__sync_fetch_and_or(&d->flags, flag) | flag) & both) == both)
		flow_begin(t, d->dst_cookie, CV_LINK_FORWARD);
}

static __noinline void on_accept_direct(struct bpf_sock_ops *ctx)
{
	struct cv_tuple key, t = tuple_from_sockops(ctx, bpf_get_netns_cookie(ctx));
	struct cv_direct *d;

	if (addr_is_loopback(&t.remote) || !flow_reverse(&t, &key))
		return;
	d = bpf_map_lookup_elem(&cv_directs, &key);
	if (!d || d->dst_cookie != t.netns_cookie)
		return;
	direct_both(&key, d, CV_DIRECT_ACCEPTED);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __noinline void on_accept(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	struct cv_pod *pod = pod_find(cookie);
	struct bpf_sock *sk = ctx->sk;
	struct cv_tuple t, key;
	struct cv_socket *st;
	struct cv_conn *c;
	bool is_ztunnel;

	if (!pod || !sk)
		return;
	t = tuple_from_sockops(ctx, cookie);
	t = tuple_reverse(&t);
	key = tuple_vouched(&t);
	bpf_map_delete_elem(&cv_vouched, &key);
	is_ztunnel = pod_is_ztunnel_port(pod, ctx->local_port);
	c = bpf_map_lookup_elem(&cv_conns, &t);
	if (!c && !is_ztunnel)
		return;
	st = bpf_sk_storage_get(&cv_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!st) {
		sockops_drop(&t, CV_DROP_STORAGE);
		return;
	}
	st->shown = sockops_shown(c, is_ztunnel);
	st->flags = CV_SOCKET_SHOWN | (is_ztunnel ? CV_SOCKET_CHILD : 0);
	if (!st->shown.port)
		sockops_drop(&t, CV_DROP_NO_ORIGIN);
	if (c && !(c->flags & CV_CONN_MPTCP))
		bpf_map_delete_elem(&cv_conns, &t);
}

/* Bytes of data that the peer has had, or has given. The kernel's own counters in the context count
 * SYN and FIN too. */
static __always_inline void direct_bytes(struct bpf_sock_ops *ctx, struct cv_direct_event *ev)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock___cv *tp;
	__u64 received;

	if (!sk)
		return;
	tp = (void *)bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	ev->sent = tp->bytes_sent - tp->bytes_retrans;
	received = tp->bytes_received;
	if (received && (((struct sock_common___cv *)tp)->skc_flags & (1UL << CV_SOCK_DONE)))
		received--;
	ev->received = received;
}

#define WAKE_EVERY_NS (20 * 1000 * 1000)
#define WAKE_BYTES    (64 * 1024) /* of unread events */

static __u64 woken_ns;

/* Telemetry can wait a moment: one wake-up of agent and ztunnel per connection would cost more than
 * the connection. The agent looks once more when this time is over. */
static __always_inline __u64 direct_wake(__u64 now_ns)
{
	if (now_ns - woken_ns < WAKE_EVERY_NS &&
	    bpf_ringbuf_query(&cv_events, BPF_RB_AVAIL_DATA) < WAKE_BYTES)
		return BPF_RB_NO_WAKEUP;
	woken_ns = now_ns;
	return BPF_RB_FORCE_WAKEUP;
}

static __noinline void direct_tell(struct bpf_sock_ops *ctx, const struct cv_tuple *t,
				   const struct cv_direct *d, __u32 reason)
{
	struct cv_direct_event ev = {.reason = reason};

	if (!t || !d)
		return;
	ev.time_ns = bpf_ktime_get_ns();
	ev.netns_cookie = t->netns_cookie;
	ev.flags = d->flags;
	ev.local.addr = t->local;
	ev.local.port = t->local_port;
	ev.remote.addr = t->remote;
	ev.remote.port = t->remote_port;
	ev.asked = d->asked;
	ev.dst_cookie = d->dst_cookie;
	ev.connect_ns = d->time_ns;
	direct_bytes(ctx, &ev);
	count(reason);
	bpf_ringbuf_output(&cv_events, &ev, sizeof(ev), direct_wake(ev.time_ns));
}

static __noinline void on_established(struct bpf_sock_ops *ctx)
{
	struct cv_direct *d;
	struct cv_tuple t;

	if (!sockops_direct(ctx))
		return;
	t = tuple_from_sockops(ctx, bpf_get_netns_cookie(ctx));
	d = bpf_map_lookup_elem(&cv_directs, &t);
	if (!d)
		return;
	direct_both(&t, d, CV_DIRECT_ESTABLISHED);
	direct_tell(ctx, &t, d, CV_DIRECT_OPEN);
}

/* An endpoint that refused, one of several: the next connection asks ztunnel, which tries another
 * at once. While there is no ztunnel the cached verdicts are all there is. */
static __always_inline void direct_avoid(const struct cv_tuple *t, const struct cv_direct *d)
{
	struct cv_verdict_key verdict = {
		.src_cookie = t->netns_cookie, .dst_cookie = d->dst_cookie, .port = t->remote_port};
	struct cv_service_key key = {.addr = d->asked.addr, .port = d->asked.port};
	struct cv_frontend *f = bpf_map_lookup_elem(&cv_frontends, &key);
	struct cv_pod *pod = pod_find(t->netns_cookie);

	if (f && f->count > 1 && pod && (pod->flags & CV_POD_ALIVE))
		bpf_map_delete_elem(&cv_verdicts, &verdict);
}

static __noinline void on_close_direct(struct bpf_sock_ops *ctx, const struct cv_tuple *t)
{
	struct cv_direct *d;

	if (!t)
		return;
	d = bpf_map_lookup_elem(&cv_directs, t);
	if (!d)
		return;
	direct_tell(ctx, t, d, CV_DIRECT_CLOSE);
	if (!(d->flags & CV_DIRECT_ESTABLISHED))
		direct_avoid(t, d);
	bpf_map_delete_elem(&cv_directs, t);
}

/* An end is done: the dialling one, or the accepting one of a direct connection. */
static __noinline void on_close(struct bpf_sock_ops *ctx)
{
	struct cv_tuple t = tuple_from_sockops(ctx, bpf_get_netns_cookie(ctx));
	struct cv_tuple key = tuple_vouched(&t);

	bpf_map_delete_elem(&cv_conns, &t);
	bpf_map_delete_elem(&cv_vouched, &key);
	on_close_direct(ctx, &t);
	flow_end(&t);
}

SEC("sockops")
int cv_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		if (cfg.host_cookie && bpf_get_netns_cookie(ctx) == cfg.host_cookie)
			on_connect_host(ctx);
		else if (sockops_direct(ctx))
			on_connect_direct(ctx);
		else
			on_connect(ctx);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		on_established(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_accept(ctx);
		on_accept_direct(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			on_close(ctx);
		break;
	}
	return 1;
}

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sockops - what must be known about a connection before its SYN leaves: the peer to be shown, and
 * that it is vouched for. Hook: sockops (CONNECT, PASSIVE_ESTABLISHED, STATE). Reads: cv_pods,
 * cv_pod_addrs. Writes: cv_conns, cv_vouched, cv_sockets, cv_counters, cv_events. On doubt: no
 * entry, so ztunnel is shown no destination and sk_lookup does not let the SYN through. */
#include "bpf/lib/conn.h"
#include "bpf/lib/event.h"
#include "bpf/lib/pod.h"

#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The one field that we need of the kernel's own struct. */
struct tcp_sock___cv {
	bool is_mptcp;
} __attribute__((preserve_access_index));

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

static __always_inline bool sockops_is_mptcp(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock___cv *tp;

	if (!sk || !bpf_core_field_exists(((struct tcp_sock___cv *)0)->is_mptcp))
		return false;
	tp = (void *)bpf_skc_to_tcp_sock(sk);
	return tp && tp->is_mptcp;
}

/* Keeps what the accepting end is to be shown. */
static __always_inline int sockops_remember(struct bpf_sock_ops *ctx, const struct cv_tuple *t,
					    const struct cv_socket *st)
{
	struct cv_conn c = {.shown = st->shown, .time_ns = bpf_ktime_get_ns()};

	if (st->flags & CV_SOCKET_REDIRECTED)
		c.flags |= CV_CONN_TO_ZTUNNEL;
	if (sockops_is_mptcp(ctx))
		c.flags |= CV_CONN_MPTCP;
	return bpf_map_update_elem(&cv_conns, t, &c, BPF_ANY);
}

static __always_inline int sockops_vouch(const struct cv_tuple *t)
{
	struct cv_tuple key = tuple_vouched(t);
	struct cv_vouch v = {.time_ns = bpf_ktime_get_ns()};

	return bpf_map_update_elem(&cv_vouched, &key, &v, BPF_ANY);
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

/* The dialling end is done. */
static __noinline void on_close(struct bpf_sock_ops *ctx)
{
	struct cv_tuple t = tuple_from_sockops(ctx, bpf_get_netns_cookie(ctx));
	struct cv_tuple key = tuple_vouched(&t);

	bpf_map_delete_elem(&cv_conns, &t);
	bpf_map_delete_elem(&cv_vouched, &key);
}

SEC("sockops")
int cv_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		on_connect(ctx);
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

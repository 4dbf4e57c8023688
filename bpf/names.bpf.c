/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* names - show applications the peer they meant, and ztunnel the destination that was meant. Hooks:
 * cgroup/getpeername4, cgroup/getpeername6; accept(2) asks them too. Reads: cv_conns, cv_pods.
 * Writes: cv_sockets. On doubt: the real peer. */
#include "bpf/lib/attempt.h"
#include "bpf/lib/conn.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* MPTCP sockets have no record (their subflow has), so the map answers for them; and for an
 * application's child for whose record there was no memory. ztunnel's own would be told the
 * destination at every call, also where it asks for the client: it is shown none. */
static __always_inline bool names_from_map(struct bpf_sock_addr *ctx, struct attempt *a)
{
	struct cv_sockaddr local = sock_local(ctx);
	struct cv_tuple t = {
		.netns_cookie = a->cookie,
		.local = local.addr,
		.remote = a->dst.addr,
		.local_port = local.port,
		.remote_port = a->dst.port,
	};
	struct cv_tuple reversed = cv_tuple_turned(&t);
	struct cv_conn *c;

	if (!addr_is_loopback(&local.addr) && !addr_is_loopback(&a->dst.addr))
		return false;
	/* An MPTCP connection may outlive its pod's time in the mesh. */
	if (ctx->protocol == CV_IPPROTO_TCP && !pod_find(a->cookie))
		return false;
	c = bpf_map_lookup_elem(&cv_conns, &reversed);
	if (c && (c->flags & CV_CONN_TO_ZTUNNEL)) {
		a->dst = (struct cv_sockaddr){};
		return true;
	}
	if (!c) {
		c = bpf_map_lookup_elem(&cv_conns, &t);
		if (!c || !(c->flags & CV_CONN_TO_ZTUNNEL))
			return false;
	}
	a->dst = c->shown;
	return true;
}

/* A client that had bound a port but no address comes from 127.0.0.1, a machine inside the pod from
 * an address that only the pod knows: that is the pod. */
static __always_inline bool names_pod(const struct cv_socket *st, struct attempt *a)
{
	struct cv_pod *pod;

	if (!addr_is_loopback(&a->dst.addr) && !(st->flags & CV_SOCKET_REROUTED))
		return false;
	pod = pod_find(a->cookie);
	if (!pod)
		return false;
	a->dst.addr = addr_is_v4(&a->dst.addr) ? pod->addr4 : pod->addr6;
	return !addr_is_any(&a->dst.addr);
}

/* Returns true when a->dst is to be shown in place of the peer. */
static __noinline int names_peer(struct bpf_sock_addr *ctx, struct attempt *a)
{
	struct cv_socket *st;

	if (!a || !ctx->sk)
		return false;
	st = bpf_sk_storage_get(&cv_sockets, ctx->sk, NULL, 0);
	if (st && st->kind != CV_SOCKET_APP)
		return false;
	if (!st || !(st->flags & CV_SOCKET_SHOWN))
		return ctx->protocol != CV_IPPROTO_UDP && names_from_map(ctx, a);
	if (st->flags & CV_SOCKET_ANSWERED)
		return names_pod(st, a);
	if (st->flags & CV_SOCKET_CHILD)
		st->flags |= CV_SOCKET_ANSWERED;
	a->dst = st->shown;
	return true;
}

SEC("cgroup/getpeername4")
int cv_getpeername4(struct bpf_sock_addr *ctx)
{
	struct attempt a = attempt_from_v4(ctx);

	/* An IPv6 client cannot be shown to an IPv4 socket, but that there is no destination can:
	 * ztunnel must not take the peer for one. */
	if (names_peer(ctx, &a) && (addr_is_v4(&a.dst.addr) || !a.dst.port))
		sock_addr_store_v4(ctx, &a.dst);
	return 1;
}

SEC("cgroup/getpeername6")
int cv_getpeername6(struct bpf_sock_addr *ctx)
{
	struct attempt a = attempt_from_v6(ctx);

	if (names_peer(ctx, &a))
		sock_addr_store_v6(ctx, &a.dst);
	return 1;
}

/* The same on the client's own side. */
static __noinline int names_own(struct bpf_sock_addr *ctx, struct attempt *a)
{
	struct cv_socket *st;

	if (!a || !ctx->sk || !addr_is_loopback(&a->dst.addr) || ctx->protocol != CV_IPPROTO_TCP)
		return false;
	st = bpf_sk_storage_get(&cv_sockets, ctx->sk, NULL, 0);
	return st && (st->flags & CV_SOCKET_REDIRECTED) && names_pod(st, a);
}

SEC("cgroup/getsockname4")
int cv_getsockname4(struct bpf_sock_addr *ctx)
{
	struct attempt a = attempt_from_v4(ctx);

	if (names_own(ctx, &a))
		sock_addr_store_v4(ctx, &a.dst);
	return 1;
}

SEC("cgroup/getsockname6")
int cv_getsockname6(struct bpf_sock_addr *ctx)
{
	struct attempt a = attempt_from_v6(ctx);

	if (names_own(ctx, &a))
		sock_addr_store_v6(ctx, &a.dst);
	return 1;
}

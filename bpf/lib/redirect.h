/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* redirect - turn a socket that is about to connect towards ztunnel's listener in the same pod. */
#include "bpf/lib/drop.h"
#include "bpf/lib/option.h"

/* What bpf_bind wants, for either family. */
struct native_addr {
	__u16 family;
	__be16 port;
	__be32 v4_or_flow;
	__u32 v6[4];
	__u32 scope;
};

#define NATIVE_V4_LEN 16

static __always_inline int native_bind(struct bpf_sock_addr *ctx, __u32 is_v6,
				       const struct cv_addr *addr)
{
	struct native_addr sa = {.family = is_v6 ? CV_AF_INET6 : CV_AF_INET};

	if (!is_v6) {
		sa.v4_or_flow = addr->w[3];
		return bpf_bind(ctx, (struct sockaddr *)&sa, NATIVE_V4_LEN);
	}
	sa.v6[0] = addr->w[0];
	sa.v6[1] = addr->w[1];
	sa.v6[2] = addr->w[2];
	sa.v6[3] = addr->w[3];
	return bpf_bind(ctx, (struct sockaddr *)&sa, sizeof(sa));
}

/* Forgets what an earlier connect left, the address that it bound too: on a dual-stack socket a
 * mapped one would spoil a later IPv6 connect. */
static __always_inline void redirect_forget(struct bpf_sock_addr *ctx, struct cv_socket *st,
					    const struct attempt *a)
{
	struct cv_addr any = {};

	if (st->flags & CV_SOCKET_BOUND)
		(void)native_bind(ctx, a->is_v6, &any);
	st->flags = 0;
}

/* A device binding would send packets for 127/8 out of that device. */
static __always_inline int redirect_lift_device(struct bpf_sock_addr *ctx)
{
	char none[4] = {};

	if (!ctx->sk || !ctx->sk->bound_dev_if)
		return 0;
	return bpf_setsockopt(ctx, CV_SOL_SOCKET, CV_SO_BINDTODEVICE, none, sizeof(none));
}

/* Binds the pod's address, so that getsockname tells it and not a loopback one. A socket that has
 * an address or a port of its own keeps them: the kernel does not bind twice. Returns
 * CV_SOCKET_BOUND, 0 or a negative error. */
static __always_inline int redirect_bind(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
					 const struct attempt *a)
{
	const struct cv_addr *addr = addr_is_v4(&a->dst.addr) ? &pod->addr4 : &pod->addr6;
	struct cv_sockaddr local = sock_local(ctx);
	int r;

	if (local.port || !addr_is_any(&local.addr) || addr_is_any(addr))
		return 0;
	r = native_bind(ctx, a->is_v6, addr);
	return r ? r : CV_SOCKET_BOUND;
}

/* Makes the socket's own side fit for loopback. Returns CV_SOCKET_BOUND, 0 or a negative error. */
static __always_inline int redirect_local(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
					  const struct attempt *a)
{
	int r = redirect_lift_device(ctx);

	return r ? r : redirect_bind(ctx, pod, a);
}

/* IPv4 is spread over 127.64.0.0/10 by the original destination: one address would run out of
 * ephemeral ports, and a client with a fixed port could reach one peer only. IPv6 has ::1 alone:
 * spread over ports. */
static __always_inline struct cv_sockaddr
redirect_target(const struct cv_pod *pod, const struct cv_sockaddr *orig, __u16 port)
{
	__u32 hash = cv_sockaddr_hash(orig);
	struct cv_sockaddr to = {};

	if (addr_is_v4(&orig->addr)) {
		to.addr = addr_from_v4(bpf_htonl(cfg.loopback_base + (hash & cfg.loopback_mask)));
		to.port = bpf_htons(port ? port : pod->outbound_ports[0]);
		return to;
	}
	to.addr.w[3] = bpf_htonl(1);
	to.port = bpf_htons(port ? port : pod->outbound_ports[hash % CV_OUTBOUND_PORTS]);
	return to;
}

/* Prepares the socket for a listener of ztunnel's. NULL: it has none that lives, `reason` says why.
 */
static __always_inline struct cv_socket *redirect_begin(struct bpf_sock_addr *ctx,
							const struct cv_pod *pod,
							const struct attempt *a, __u32 *reason)
{
	struct cv_socket *st;
	int bound;

	*reason = CV_DROP_ZTUNNEL_DEAD;
	if (!(pod->flags & CV_POD_ALIVE))
		return NULL;
	*reason = CV_DROP_STORAGE;
	if (!ctx->sk)
		return NULL;
	st = bpf_sk_storage_get(&cv_sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!st)
		return NULL;
	*reason = CV_DROP_BIND;
	bound = redirect_local(ctx, pod, a);
	if (bound < 0)
		return NULL;
	st->flags = bound;
	return st;
}

/* It goes there: what the application asked for is what it is shown. */
static __always_inline void redirect_end(struct cv_socket *st, const struct cv_sockaddr *asked)
{
	st->shown = *asked;
	st->flags |= CV_SOCKET_SHOWN | CV_SOCKET_REDIRECTED;
}

/* Sends a->dst to ztunnel: to `port`, or where that is 0 to an outbound listener. */
static __noinline int redirect_tcp(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
				   struct attempt *a, __u16 port)
{
	struct cv_socket *st;
	struct cv_sockaddr to;
	__u32 reason;

	if (!pod || !a || !ctx->sk)
		return VERDICT_REFUSE;
	to = redirect_target(pod, &a->dst, port);
	if (!to.port)
		return drop(ctx, a, CV_DROP_ZTUNNEL_DEAD);
	st = redirect_begin(ctx, pod, a, &reason);
	if (!st)
		return drop(ctx, a, reason);
	redirect_end(st, &a->dst);
	st->flags |= a->choice * CV_SOCKET_CHOICE;
	a->dst = to;
	count(port ? CV_DNS : CV_TUNNEL);
	return VERDICT_REWRITE;
}

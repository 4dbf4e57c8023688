/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* direct_tcp - connect(2) of an enrolled pod: may it go without a tunnel? See lib/direct.h. */
#include "bpf/lib/direct.h"
#include "bpf/lib/drop.h"
#include "bpf/lib/tcp.h"

#define DIRECT_NOT (-1)

/* Asks ztunnel, through the agent. A full ring loses the question: the next connection asks. */
static __always_inline void direct_ask(const struct attempt *a, __u64 dst_cookie)
{
	struct cv_direct_event ev = {
		.reason = CV_VERDICT_MISS,
		.netns_cookie = a->cookie,
		.dst_cookie = dst_cookie,
		.remote = a->dst,
		.asked = a->dst,
	};

	ev.time_ns = bpf_ktime_get_ns();
	ev.generation = direct_generation();
	count(CV_VERDICT_MISS);
	bpf_ringbuf_output(&cv_events, &ev, sizeof(ev), 0);
}

/* What a direct connection cannot have: a device, an address that is not the pod's, MPTCP (whose
 * later subflows nobody vouches for). */
static __always_inline bool direct_is_plain_socket(struct bpf_sock_addr *ctx,
						   const struct attempt *a)
{
	struct cv_sockaddr local = sock_local(ctx);

	if (!ctx->sk || ctx->sk->bound_dev_if || tcp_is_mptcp(ctx->sk))
		return false;
	return addr_is_any(&local.addr) || pod_owns_addr(a->cookie, &local.addr);
}

/* DIRECT_NOT: try the tunnel. Else the verdict: VERDICT_ALLOW, or refused by policy. */
static __noinline int direct_tcp(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
				 struct attempt *a)
{
	struct cv_socket *st;
	__u64 dst;

	if (!pod || !a || !ctx->sk)
		return VERDICT_REFUSE;
	dst = direct_destination(&a->dst);
	if (!dst || !direct_is_plain_socket(ctx, a))
		return DIRECT_NOT;
	switch (direct_verdict(a->cookie, dst, a->dst.port)) {
	case DIRECT_DENIED:
		return drop(ctx, a, CV_DROP_POLICY);
	case DIRECT_ALLOWED:
		break;
	default:
		direct_ask(a, dst);
		return DIRECT_NOT;
	}
	st = bpf_sk_storage_get(&cv_sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!st)
		return drop(ctx, a, CV_DROP_STORAGE);
	st->flags = CV_SOCKET_DIRECT;
	count(CV_DIRECT);
	return VERDICT_ALLOW;
}

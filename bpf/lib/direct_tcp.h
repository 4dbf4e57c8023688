/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* direct_tcp - connect(2) of an enrolled pod: may it go without a tunnel? See lib/direct.h. */
#include "bpf/lib/direct.h"
#include "bpf/lib/drop.h"
#include "bpf/lib/tcp.h"

#define DIRECT_NOT (-1)

static __always_inline void direct_ask(const struct attempt *a, const struct cv_sockaddr *to,
				       __u64 dst_cookie)
{
	struct cv_direct_event ev = {
		.reason = CV_VERDICT_MISS,
		.netns_cookie = a->cookie,
		.dst_cookie = dst_cookie,
		.remote = *to,
		.asked = a->dst,
	};

	event_ask(&ev);
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

/* Endpoint of the frontend that a->dst is, by weight. Returns false when it is none that the
 * programs may choose for. */
static __noinline bool direct_choose(const struct attempt *a, struct cv_sockaddr *to)
{
	struct cv_service_key key = {};
	struct cv_frontend *f;
	__u32 at;

	if (!a || !to)
		return false;
	key.addr = a->dst.addr;
	key.port = a->dst.port;
	f = bpf_map_lookup_elem(&cv_frontends, &key);
	if (!f)
		return false;
	at = ((__u64)bpf_get_prandom_u32() * f->weight) >> 32;
	for (__u32 i = 0; i < CV_FRONTEND_ENDS && i < f->count; i++)
		if (at < f->ends[i].weight_end) {
			*to = f->ends[i].to;
			return true;
		}
	return false;
}

/* Where a->dst leads on this node, in `to`: a pod's own address, or a frontend's endpoint. Returns
 * that pod's cookie, 0: not without a tunnel. */
static __always_inline __u64 direct_resolve(const struct attempt *a, struct cv_sockaddr *to)
{
	__u64 cookie;

	*to = a->dst;
	cookie = direct_destination(to);
	if (!cookie && direct_choose(a, to))
		cookie = direct_destination(to);
	return cookie;
}

/* DIRECT_NOT: try the tunnel. Else the verdict: VERDICT_ALLOW, or refused by policy. */
static __noinline int direct_tcp(struct bpf_sock_addr *ctx, const struct cv_pod *pod,
				 struct attempt *a)
{
	struct cv_sockaddr to = {};
	__u64 dst, generation;
	struct cv_socket *st;

	if (!pod || !a || !ctx->sk)
		return VERDICT_REFUSE;
	dst = direct_resolve(a, &to);
	if (!dst || !direct_is_plain_socket(ctx, a))
		return DIRECT_NOT;
	generation = direct_generation();
	switch (direct_verdict(a->cookie, dst, to.port)) {
	case DIRECT_DENIED:
		return drop(ctx, a, CV_DROP_POLICY);
	case DIRECT_ALLOWED:
		break;
	default:
		direct_ask(a, &to, dst);
		return DIRECT_NOT;
	}
	st = bpf_sk_storage_get(&cv_sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!st)
		return drop(ctx, a, CV_DROP_STORAGE);
	st->flags = CV_SOCKET_DIRECT | CV_SOCKET_SHOWN;
	st->shown = a->dst;
	st->dst_port = to.port;
	st->dst_cookie = dst;
	st->generation = generation;
	a->dst = to;
	count(CV_DIRECT);
	return VERDICT_REWRITE;
}

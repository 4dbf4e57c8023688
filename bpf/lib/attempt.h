/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* attempt - one connect(2) or sendmsg(2) in the form that both families share, and what came of it.
 */
#include "bpf/lib/event.h"
#include "bpf/lib/pod.h"

#define CV_ECONNREFUSED 111
#define CV_IPPROTO_TCP  6
#define CV_IPPROTO_UDP  17
#define CV_DNS_PORT     53

enum verdict {
	VERDICT_ALLOW,   /* as it is */
	VERDICT_REWRITE, /* to attempt.dst */
	VERDICT_REFUSE,  /* ECONNREFUSED */
};

struct attempt {
	__u64 cookie;
	struct cv_sockaddr dst; /* where it goes; the redirection overwrites it */
	__u16 is_v6;  /* the hook's family: a v4-mapped address comes through the IPv6 one */
	__u16 choice; /* what ztunnel is told: enum cv_choice */
};

static __always_inline struct attempt attempt_from_v4(struct bpf_sock_addr *ctx)
{
	return (struct attempt){
		.cookie = bpf_get_netns_cookie(ctx),
		.dst = {.addr = addr_from_v4(ctx->user_ip4), .port = (__be16)ctx->user_port},
	};
}

static __always_inline struct attempt attempt_from_v6(struct bpf_sock_addr *ctx)
{
	return (struct attempt){
		.cookie = bpf_get_netns_cookie(ctx),
		.dst = {.addr = {.w = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2],
				       ctx->user_ip6[3]}},
			.port = (__be16)ctx->user_port},
		.is_v6 = 1,
	};
}

static __always_inline void sock_addr_store_v4(struct bpf_sock_addr *ctx,
					       const struct cv_sockaddr *sa)
{
	ctx->user_ip4 = sa->addr.w[3];
	ctx->user_port = sa->port;
}

static __always_inline void sock_addr_store_v6(struct bpf_sock_addr *ctx,
					       const struct cv_sockaddr *sa)
{
	ctx->user_ip6[0] = sa->addr.w[0];
	ctx->user_ip6[1] = sa->addr.w[1];
	ctx->user_ip6[2] = sa->addr.w[2];
	ctx->user_ip6[3] = sa->addr.w[3];
	ctx->user_port = sa->port;
}

/* The socket's own address as far as it has one yet. Everything is read, volatile, before it is
 * chosen from: the verifier knows a field by its offset, and the compiler would merge two branches
 * into one read through a computed pointer. */
static __always_inline struct cv_sockaddr sock_local(struct bpf_sock_addr *ctx)
{
	const volatile struct bpf_sock *sk = ctx->sk;
	struct cv_sockaddr sa = {};
	__be32 v4;

	if (!sk)
		return sa;
	v4 = sk->src_ip4;
	sa.addr.w[0] = sk->src_ip6[0];
	sa.addr.w[1] = sk->src_ip6[1];
	sa.addr.w[2] = sk->src_ip6[2];
	sa.addr.w[3] = sk->src_ip6[3];
	sa.port = bpf_htons(sk->src_port);
	if (sk->family == CV_AF_INET)
		sa.addr = addr_from_v4(v4);
	return sa;
}

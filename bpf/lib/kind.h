/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* kind - what a socket of ztunnel's may reach. Checked at every connect and datagram, whether or
 * not the pod is still enrolled. On doubt: refuse. */
#include "bpf/lib/drop.h"

/* ztunnel serves DNS to the pod alone and to machines inside it, and on UDP only. */
static __always_inline bool kind_may_answer(struct bpf_sock_addr *ctx, const struct attempt *a)
{
	struct cv_pod *pod;

	if (ctx->protocol != CV_IPPROTO_UDP)
		return false;
	if (pod_is_self(a->cookie, &a->dst.addr))
		return true;
	pod = pod_find(a->cookie);
	return pod && (pod->flags & CV_POD_REROUTE);
}

/* The pod's own addresses, but not ztunnel's redirect listeners there: they would take the client's
 * address for an original destination. */
static __always_inline bool kind_may_dial_app(const struct attempt *a)
{
	struct cv_pod *pod = pod_find(a->cookie);

	return pod && pod_owns_addr(a->cookie, &a->dst.addr) &&
	       !pod_is_ztunnel_port(pod, bpf_ntohs(a->dst.port));
}

static __noinline int kind_check(struct bpf_sock_addr *ctx, const struct attempt *a, __u32 kind)
{
	bool is_tcp = ctx->protocol == CV_IPPROTO_TCP;
	bool is_allowed = false;

	if (!a)
		return VERDICT_REFUSE;
	switch (kind) {
	case CV_SOCKET_LISTEN:
		is_allowed = kind_may_answer(ctx, a);
		break;
	case CV_SOCKET_DIAL_APP:
		is_allowed = is_tcp && kind_may_dial_app(a);
		break;
	case CV_SOCKET_DIAL_HBONE:
		is_allowed = is_tcp && a->dst.port == bpf_htons(CV_HBONE_PORT);
		break;
	case CV_SOCKET_DIAL_PLAIN:
		is_allowed = is_tcp && !dest_takes_no_plaintext(&a->dst) &&
			     !pod_is_self(a->cookie, &a->dst.addr);
		break;
	case CV_SOCKET_DNS:
		is_allowed = a->dst.port == bpf_htons(CV_DNS_PORT) &&
			     !(is_tcp && dest_takes_no_plaintext(&a->dst));
		break;
	}
	return is_allowed ? VERDICT_ALLOW : drop(ctx, a, CV_DROP_KIND);
}

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* congestion - of connections that stay in this node's memory: from pod to pod past the host's
 * stack, and between an application and ztunnel on loopback. They cross no network whose room would
 * have to be found out, and what some do about one (BBR puts a timer between any two packets) makes
 * them slower and protects nobody. So they begin with reno, which every kernel has and which does
 * nothing where nothing is lost. Where the application has chosen for itself, that stays. */
#include "bpf/lib/option.h"
#include "bpf/lib/tcp.h"
#include "bpf/maps.h"

struct inet_connection_sock___cv {
	__u8 icsk_ca_setsockopt : 1; /* chosen, here or at the listener; by setsockopt or BPF */
} __attribute__((preserve_access_index));

/* In an ESTABLISHED callback: the kernel starts what the namespace wants only after it. */
static __always_inline void congestion_local(struct bpf_sock_ops *ctx)
{
	struct inet_connection_sock___cv *icsk;
	char name[] = "reno";

	if (cfg.is_congestion_own || !ctx->sk)
		return;
	icsk = (void *)bpf_skc_to_tcp_sock(ctx->sk);
	if (!icsk || BPF_CORE_READ_BITFIELD(icsk, icsk_ca_setsockopt))
		return;
	(void)bpf_setsockopt(ctx, CV_SOL_TCP, CV_TCP_CONGESTION, name, sizeof(name));
}

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* tcp - what we need of the kernel's own structs, relocated at load. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct tcp_sock___cv {
	bool is_mptcp;
	__u8 fastopen_connect : 1;
	void *fastopen_req;
	__u64 bytes_sent, bytes_retrans, bytes_received;
} __attribute__((preserve_access_index));

struct sock_common___cv {
	unsigned long skc_flags;
} __attribute__((preserve_access_index));

struct sock___cv {
	int sk_err;
} __attribute__((preserve_access_index));

#define CV_SOCK_DONE 1 /* bit of skc_flags: the peer's FIN has come */

static __always_inline bool tcp_is_mptcp(struct bpf_sock *sk)
{
	struct tcp_sock___cv *tp;

	if (!sk || !bpf_core_field_exists(((struct tcp_sock___cv *)0)->is_mptcp))
		return false;
	tp = (void *)bpf_skc_to_tcp_sock(sk);
	return tp && tp->is_mptcp;
}

/* Is this connect(2) to send data with its SYN: by MSG_FASTOPEN, or by TCP_FASTOPEN_CONNECT? */
static __always_inline bool tcp_is_fast_open(struct bpf_sock *sk)
{
	struct tcp_sock___cv *tp;

	if (!sk)
		return false;
	tp = (void *)bpf_skc_to_tcp_sock(sk);
	return tp && (tp->fastopen_req || BPF_CORE_READ_BITFIELD(tp, fastopen_connect));
}

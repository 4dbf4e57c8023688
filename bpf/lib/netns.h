/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* netns - which namespace a packet is in, and that of the socket that sent it: tc has a helper that
 * tells only since Linux 6.15, so the kernel's own structs are read, relocated at load. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct net___cv {
	__u64 net_cookie;
} __attribute__((preserve_access_index));

struct net_device___cv {
	struct {
		struct net___cv *net;
	} nd_net;
} __attribute__((preserve_access_index));

struct sock___net {
	struct {
		struct {
			struct net___cv *net;
		} skc_net;
	} __sk_common;
} __attribute__((preserve_access_index));

struct sk_buff___cv {
	struct net_device___cv *dev;
	struct sock___net *sk;
} __attribute__((preserve_access_index));

static __always_inline __u64 skb_netns_cookie(struct __sk_buff *skb)
{
	struct sk_buff___cv *s = (void *)skb;

	return BPF_CORE_READ(s, dev, nd_net.net, net_cookie);
}

/* Of the socket that has sent it. 0: none, as of all that was received and is led on. */
static __always_inline __u64 skb_sender_cookie(struct __sk_buff *skb)
{
	struct sk_buff___cv *s = (void *)skb;

	return BPF_CORE_READ(s, sk, __sk_common.skc_net.net, net_cookie);
}

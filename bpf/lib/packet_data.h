/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* packet_data - does a packet of TCP carry anything but headers? */
#include <stddef.h>

#include "bpf/lib/packet.h"

/* l3, l4: where the headers begin. What cannot be told counts as yes. A frame may be longer than
 * its packet, so the length is the IP header's: 0 in a packet that is longer than it can say. */
static __noinline bool packet_has_data(struct __sk_buff *skb, __u32 l3, __u32 l4)
{
	__u32 at, end;
	__be16 len;
	__u8 ip, tcp;

	if (bpf_skb_load_bytes(skb, l3, &ip, sizeof(ip)) ||
	    bpf_skb_load_bytes(skb, l4 + offsetof(struct tcp_start, offset), &tcp, sizeof(tcp)))
		return true;
	at = offsetof(struct iphdr, tot_len);
	end = l3;
	if (ip >> 4 == 6) {
		at = offsetof(struct ipv6hdr, payload_len);
		end += sizeof(struct ipv6hdr);
	}
	if (bpf_skb_load_bytes(skb, l3 + at, &len, sizeof(len)))
		return true;
	return !len || l4 + (tcp >> 4) * 4 < end + bpf_ntohs(len);
}

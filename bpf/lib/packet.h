/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* packet - what the guards want to know of a packet: addresses, protocol, TCP's ports and flags.
 * Reads by bpf_skb_load_bytes(), so it does not matter where the bytes lie. */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "bpf/lib/addr.h"
#include "culvert/abi/maps.h"

#define CV_PROTO_TCP 6
#define CV_PROTO_UDP 17
#define CV_TCP_FIN   0x01
#define CV_TCP_SYN   0x02
#define CV_TCP_RST   0x04
#define CV_TCP_ACK   0x10

/* IPv6 extension headers that Linux skips on its way to TCP. */
#define CV_EXT_HOP      0
#define CV_EXT_ROUTING  43
#define CV_EXT_FRAGMENT 44
#define CV_EXT_AUTH     51
#define CV_EXT_DEST     60
#define CV_EXT_MAX      8 /* of them in one packet */

#define CV_VLAN_TAGS   2
#define CV_VLAN_LEN    4
#define CV_IP_FRAGMENT 0x3fff /* more fragments, offset */
#define CV_IP_OFFSET   0x1fff

enum packet_kind {
	PACKET_OTHER, /* neither IPv4 nor IPv6 */
	PACKET_IP,
	PACKET_BAD, /* cannot be read, so it cannot be judged */
};

struct packet {
	struct cv_tuple tuple; /* local: source; ports where it is TCP; no cookie */
	__u32 l3, l4;          /* offsets of the IP header and of the transport header */
	__be32 tcp_seq;
	__u16 fragment; /* 0: it is none */
	__u16 offset;   /* 0: with the transport header */
	__u8 proto;     /* as far as this packet tells */
	__u8 tcp_flags;
	__u8 has_options; /* IPv4 */
};

static __always_inline int packet_read_v4(struct __sk_buff *skb, __u32 off, struct packet *p)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, off, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return PACKET_BAD;
	p->tuple.local = addr_from_v4(ip.saddr);
	p->tuple.remote = addr_from_v4(ip.daddr);
	p->proto = ip.protocol;
	p->fragment = ip.frag_off & bpf_htons(CV_IP_FRAGMENT);
	p->offset = ip.frag_off & bpf_htons(CV_IP_OFFSET);
	p->has_options = ip.ihl > 5;
	p->l4 = off + ip.ihl * 4;
	return PACKET_IP;
}

/* The first 8 bytes of any extension header. */
struct ext_header {
	__u8 next;
	__u8 len;
	__be16 fragment; /* routing: type, segments left */
	__be32 id;
};

#define CV_EXT_OFFSET 0xfff8 /* of `fragment`; the lowest bit says that more follow */

/* A fragment that is none (RFC 6946) is read on. Of a later one only the next header's number is
 * there. Returns true when there is something to read on. */
static __always_inline bool packet_read_fragment(struct packet *p, const struct ext_header *h)
{
	p->proto = h->next;
	p->l4 += 8;
	p->fragment |= h->fragment & bpf_htons(CV_EXT_OFFSET | 1);
	p->offset = h->fragment & bpf_htons(CV_EXT_OFFSET);
	return !p->offset;
}

static __always_inline bool proto_is_ext(__u8 proto)
{
	return proto == CV_EXT_HOP || proto == CV_EXT_ROUTING || proto == CV_EXT_FRAGMENT ||
	       proto == CV_EXT_AUTH || proto == CV_EXT_DEST;
}

static __noinline int packet_skip_ext(struct __sk_buff *skb, struct packet *p)
{
	struct ext_header h;

	if (!p)
		return PACKET_BAD;
	for (int i = 0; i < CV_EXT_MAX && proto_is_ext(p->proto); i++) {
		if (bpf_skb_load_bytes(skb, p->l4, &h, sizeof(h)))
			return PACKET_BAD;
		if (p->proto == CV_EXT_FRAGMENT) {
			if (!packet_read_fragment(p, &h))
				return PACKET_IP;
			continue;
		}
		/* With segments left the destination is not the one that the header names. */
		if (p->proto == CV_EXT_ROUTING && (h.fragment & bpf_htons(0xff)))
			return PACKET_BAD;
		p->l4 += p->proto == CV_EXT_AUTH ? (h.len + 2) * 4 : (h.len + 1) * 8;
		p->proto = h.next;
	}
	return proto_is_ext(p->proto) ? PACKET_BAD : PACKET_IP;
}

static __always_inline int packet_read_v6(struct __sk_buff *skb, __u32 off, struct packet *p)
{
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, off, &ip, sizeof(ip)) || ip.version != 6)
		return PACKET_BAD;
	__builtin_memcpy(&p->tuple.local, &ip.saddr, sizeof(p->tuple.local));
	__builtin_memcpy(&p->tuple.remote, &ip.daddr, sizeof(p->tuple.remote));
	p->proto = ip.nexthdr;
	p->l4 = off + sizeof(ip);
	return proto_is_ext(p->proto) ? packet_skip_ext(skb, p) : PACKET_IP;
}

/* TCP, or what could turn out to be once it is put together. */
static __always_inline bool fragment_is_tcp(const struct packet *p)
{
	return p->fragment && (p->proto == CV_PROTO_TCP || proto_is_ext(p->proto));
}

struct tcp_start {
	__be16 source, dest;
	__be32 seq, ack;
	__u8 offset, flags;
	__u16 window;
};

static __always_inline int packet_read_tcp(struct __sk_buff *skb, struct packet *p)
{
	struct tcp_start tcp;

	if (p->proto != CV_PROTO_TCP || p->offset)
		return PACKET_IP;
	if (bpf_skb_load_bytes(skb, p->l4, &tcp, sizeof(tcp)))
		return PACKET_BAD;
	p->tuple.local_port = tcp.source;
	p->tuple.remote_port = tcp.dest;
	p->tcp_flags = tcp.flags;
	p->tcp_seq = tcp.seq;
	return PACKET_IP;
}

static __always_inline bool proto_is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/* Fills a packet that is all zero. */
static __always_inline int packet_read(struct __sk_buff *skb, struct packet *p)
{
	__be16 proto = skb->protocol;
	__u32 off = ETH_HLEN;
	int kind = PACKET_OTHER;

	for (int i = 0; i < CV_VLAN_TAGS && proto_is_vlan(proto); i++, off += CV_VLAN_LEN)
		if (bpf_skb_load_bytes(skb, off + 2, &proto, sizeof(proto)))
			return PACKET_BAD;
	if (proto_is_vlan(proto))
		return PACKET_BAD;
	p->l3 = off;
	if (proto == bpf_htons(ETH_P_IP))
		kind = packet_read_v4(skb, off, p);
	else if (proto == bpf_htons(ETH_P_IPV6))
		kind = packet_read_v6(skb, off, p);
	return kind == PACKET_IP ? packet_read_tcp(skb, p) : kind;
}

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* addr - the one address type of the programs: 16 bytes, IPv4 as ::ffff:a.b.c.d, network order. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "culvert/abi/addr.h"

#define CV_AF_INET  2
#define CV_AF_INET6 10

#define CV_V4_MAPPED bpf_htonl(0x0000ffff)

static __always_inline struct cv_addr addr_from_v4(__be32 ip)
{
	return (struct cv_addr){.w = {0, 0, CV_V4_MAPPED, ip}};
}

static __always_inline bool addr_is_v4(const struct cv_addr *a)
{
	return !a->w[0] && !a->w[1] && a->w[2] == CV_V4_MAPPED;
}

/* 0.0.0.0 or ::, which connect(2) takes for this host. */
static __always_inline bool addr_is_any(const struct cv_addr *a)
{
	return !a->w[0] && !a->w[1] && !a->w[3] && (!a->w[2] || a->w[2] == CV_V4_MAPPED);
}

static __always_inline bool addr_is_loopback(const struct cv_addr *a)
{
	if (addr_is_v4(a))
		return (a->w[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !a->w[0] && !a->w[1] && !a->w[2] && a->w[3] == bpf_htonl(1);
}

/* Of IPv6. Of which link only who dials it knows, by its zone, which is not told to programs. */
static __always_inline bool addr_is_link_local6(const struct cv_addr *a)
{
	return (a->w[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* SPDX-License-Identifier: (Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)) */
#pragma once
/* addr - addresses as the maps keep them: always 16 bytes, IPv4 as ::ffff:a.b.c.d, network byte
 * order. */
#include <linux/types.h>

/* One address, twice: as the programs compare it, and byte by byte as a person reads it in a dump.
 */
struct cv_addr {
	union {
		__be32 w[4];
		__u8 bytes[16];
	};
};

struct cv_sockaddr {
	struct cv_addr addr;
	__be16 port;
	__u16 zero;
};

/* Spreads an address and port over 32 bits. Not a secret: it only keeps destinations apart. */
static inline __u32 cv_sockaddr_hash(const struct cv_sockaddr *sa)
{
	__u32 h = sa->addr.w[3] ^ (sa->addr.w[2] * 0x9e3779b1) ^ (sa->addr.w[1] * 0x85ebca6b) ^
		  (sa->addr.w[0] * 0xc2b2ae35) ^ ((__u32)sa->port << 8);

	h ^= h >> 16;
	h *= 0x7feb352d;
	h ^= h >> 15;
	h *= 0x846ca68b;
	return h ^ (h >> 16);
}

_Static_assert(sizeof(struct cv_addr) == 16, "map key layout");
_Static_assert(sizeof(struct cv_sockaddr) == 20, "map key layout");

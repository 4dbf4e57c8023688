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

_Static_assert(sizeof(struct cv_addr) == 16, "map key layout");
_Static_assert(sizeof(struct cv_sockaddr) == 20, "map key layout");

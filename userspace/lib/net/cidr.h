/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cidr - a prefix of addresses; IPv4 prefixes are counted in the mapped form, /24 is 120. No state.
 */
#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

#define CIDR_STRLEN (CV_ADDR_STRLEN + 4)
#define CIDR_FULL   128 /* one address */
#define CIDR_V4     96  /* every one of IPv4 */

struct cidr {
	struct cv_addr addr;
	uint8_t len; /* 0..128; IPv4: 96 + its own length */
};

/** cidr_parse() - "10.0.0.0/8", "fd00::/8", or an address alone (the whole length). Bits past the
 * prefix are ignored. Return: 0; -EINVAL. */
_must_check_ int cidr_parse(const char *s, struct cidr *ret);
/** cidr_contains() - an IPv4 address is never in an IPv6 prefix, not even in ::/0. */
bool cidr_contains(const struct cidr *c, const struct cv_addr *a);
/** cidr_mask() - the same with the bits past the prefix cleared: one form for one prefix. */
struct cidr cidr_mask(const struct cidr *c);
/** cidr_format() - Return: @buf. */
const char *cidr_format(const struct cidr *c, char buf[CIDR_STRLEN]);

/* SPDX-License-Identifier: Apache-2.0 */
#include "net/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

int cidr_parse(const char *s, struct cidr *ret)
{
	char buf[CIDR_STRLEN];
	struct cidr c = {0};
	uint64_t len = 0;
	uint8_t base;
	char *slash;

	if (str_copy(buf, sizeof(buf), s) < 0)
		return -EINVAL;
	slash = strchr(buf, '/');
	if (slash)
		*slash = '\0';
	if (cv_addr_parse(buf, &c.addr) < 0)
		return -EINVAL;
	/* How it was written decides: "::ffff:0:0/96" counts its length as IPv6. */
	base = strchr(buf, ':') ? 0 : CIDR_V4;
	len = 128 - base;
	if (slash && str_parse_u64(slash + 1, 0, 128 - base, &len) < 0)
		return -EINVAL;
	c.len = (uint8_t)(base + len);
	*ret = c;
	return 0;
}

bool cidr_contains(const struct cidr *c, const struct cv_addr *a)
{
	unsigned int left = c->len;

	if (cv_addr_is_v4(a) && c->len < CIDR_V4)
		return false;
	for (int i = 0; i < 4 && left > 0; i++) {
		unsigned int n = MIN(left, 32U);
		uint32_t mask = (uint32_t)(~(uint64_t)0 << (32 - n));

		if ((ntohl(c->addr.w[i]) ^ ntohl(a->w[i])) & mask)
			return false;
		left -= n;
	}
	return true;
}

struct cidr cidr_mask(const struct cidr *c)
{
	struct cidr masked = *c;

	for (unsigned int i = 0; i < 4; i++) {
		unsigned int n = c->len > 32 * i ? MIN(c->len - 32 * i, 32U) : 0;

		masked.addr.w[i] &= htonl((uint32_t)(~(uint64_t)0 << (32 - n)));
	}
	return masked;
}

const char *cidr_format(const struct cidr *c, char buf[CIDR_STRLEN])
{
	char addr[CV_ADDR_STRLEN];
	bool is_v4 = cv_addr_is_v4(&c->addr) && c->len >= CIDR_V4;

	(void)snprintf(buf, CIDR_STRLEN, "%s/%d", cv_addr_format(&c->addr, addr),
		       is_v4 ? c->len - CIDR_V4 : c->len);
	return buf;
}

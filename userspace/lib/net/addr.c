/* SPDX-License-Identifier: Apache-2.0 */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"

struct cv_addr cv_addr_from_v4(__be32 v4)
{
	return (struct cv_addr){.w = {0, 0, htonl(0xffff), v4}};
}

struct cv_addr cv_addr_from_v6(const struct in6_addr *v6)
{
	struct cv_addr a;

	memcpy(a.w, v6->s6_addr, sizeof(a.w));
	return a;
}

int cv_addr_from_bytes(const void *bytes, size_t n, struct cv_addr *ret)
{
	__be32 v4;

	if (n == sizeof(v4)) {
		memcpy(&v4, bytes, sizeof(v4));
		*ret = cv_addr_from_v4(v4);
		return 0;
	}
	if (n != sizeof(ret->w))
		return -EINVAL;
	memcpy(ret->w, bytes, sizeof(ret->w));
	return 0;
}

size_t cv_addr_bytes(const struct cv_addr *a, uint8_t out[16])
{
	size_t n = cv_addr_is_v4(a) ? 4 : 16;

	memcpy(out, (const uint8_t *)a->w + 16 - n, n);
	return n;
}

bool cv_addr_is_v4(const struct cv_addr *a)
{
	return a->w[0] == 0 && a->w[1] == 0 && a->w[2] == htonl(0xffff);
}

bool cv_addr_is_loopback(const struct cv_addr *a)
{
	if (cv_addr_is_v4(a))
		return ntohl(a->w[3]) >> 24 == 127;
	return a->w[0] == 0 && a->w[1] == 0 && a->w[2] == 0 && a->w[3] == htonl(1);
}

bool cv_addr_is_any(const struct cv_addr *a)
{
	if (cv_addr_is_v4(a))
		return a->w[3] == 0;
	return a->w[0] == 0 && a->w[1] == 0 && a->w[2] == 0 && a->w[3] == 0;
}

bool cv_addr_is_link_local(const struct cv_addr *a)
{
	if (cv_addr_is_v4(a))
		return ntohl(a->w[3]) >> 16 == 0xa9fe;
	return (ntohl(a->w[0]) & 0xffc00000) == 0xfe800000;
}

bool cv_addr_equal(const struct cv_addr *a, const struct cv_addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

int cv_addr_parse(const char *s, struct cv_addr *ret)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET, s, &v4) == 1) {
		*ret = cv_addr_from_v4(v4.s_addr);
		return 0;
	}
	if (inet_pton(AF_INET6, s, &v6) != 1)
		return -EINVAL;
	*ret = cv_addr_from_v6(&v6);
	return 0;
}

/* put_decimal() - at most 65535. Addresses are written for each connection: formats cost more than
 * all the rest of its text. Return: behind it. */
static char *put_decimal(char *at, unsigned int n)
{
	char digits[5];
	size_t len = 0;

	do {
		digits[len++] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	while (len > 0)
		*at++ = digits[--len];
	return at;
}

static void format_v4(__be32 v4, char *at)
{
	uint8_t bytes[sizeof(v4)];

	memcpy(bytes, &v4, sizeof(v4));
	for (size_t i = 0; i < sizeof(v4); i++) {
		at = put_decimal(at, bytes[i]);
		*at++ = '.';
	}
	at[-1] = '\0';
}

const char *cv_addr_format(const struct cv_addr *a, char buf[CV_ADDR_STRLEN])
{
	if (cv_addr_is_v4(a))
		format_v4(a->w[3], buf);
	else
		(void)inet_ntop(AF_INET6, a->w, buf, CV_ADDR_STRLEN);
	return buf;
}

bool cv_sockaddr_equal(const struct cv_sockaddr *a, const struct cv_sockaddr *b)
{
	return a->port == b->port && cv_addr_equal(&a->addr, &b->addr);
}

const char *cv_sockaddr_format(const struct cv_sockaddr *sa, char buf[CV_SOCKADDR_STRLEN])
{
	bool is_v4 = cv_addr_is_v4(&sa->addr);
	char *at = buf;

	if (!is_v4)
		*at++ = '[';
	at += strlen(cv_addr_format(&sa->addr, at));
	if (!is_v4)
		*at++ = ']';
	*at++ = ':';
	*put_decimal(at, ntohs(sa->port)) = '\0';
	return buf;
}

int cv_sockaddr_parse(const char *s, struct cv_sockaddr *ret)
{
	char buf[CV_SOCKADDR_STRLEN];
	const char *host = buf;
	struct cv_addr addr;
	uint64_t port;
	char *colon;
	size_t n;

	if (str_copy(buf, sizeof(buf), s) < 0)
		return -EINVAL;
	colon = strrchr(buf, ':');
	if (!colon || colon == buf || str_parse_u64(colon + 1, 0, 65535, &port) < 0)
		return -EINVAL;
	*colon = '\0';
	n = strlen(buf);
	if (buf[0] == '[') {
		if (buf[n - 1] != ']')
			return -EINVAL;
		buf[n - 1] = '\0';
		host = buf + 1;
	}
	/* "::1:80" could be either an address or an address with a port: brackets decide. */
	if ((buf[0] == '[') != (strchr(host, ':') != NULL))
		return -EINVAL;
	if (cv_addr_parse(host, &addr) < 0)
		return -EINVAL;
	*ret = (struct cv_sockaddr){.addr = addr, .port = htons((uint16_t)port)};
	return 0;
}

int cv_sockaddr_from_native(const struct sockaddr *sa, socklen_t len, struct cv_sockaddr *ret)
{
	struct sockaddr_in6 v6;
	struct sockaddr_in v4;

	if (len < sizeof(sa->sa_family))
		return -EINVAL;
	if (sa->sa_family == AF_INET) {
		if (len < sizeof(v4))
			return -EINVAL;
		memcpy(&v4, sa, sizeof(v4));
		*ret = (struct cv_sockaddr){.addr = cv_addr_from_v4(v4.sin_addr.s_addr),
					    .port = v4.sin_port};
		return 0;
	}
	if (sa->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	if (len < sizeof(v6))
		return -EINVAL;
	memcpy(&v6, sa, sizeof(v6));
	*ret = (struct cv_sockaddr){.addr = cv_addr_from_v6(&v6.sin6_addr), .port = v6.sin6_port};
	return 0;
}

int cv_sockaddr_to_native(const struct cv_sockaddr *sa, int family, struct sockaddr_storage *ret,
			  socklen_t *ret_len)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = sa->port};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = sa->port};

	if (family == AF_UNSPEC)
		family = cv_addr_is_v4(&sa->addr) ? AF_INET : AF_INET6;
	if (family == AF_INET6) {
		memcpy(v6.sin6_addr.s6_addr, sa->addr.w, sizeof(sa->addr.w));
		memcpy(ret, &v6, sizeof(v6));
		*ret_len = sizeof(v6);
		return 0;
	}
	if (family != AF_INET || !cv_addr_is_v4(&sa->addr))
		return -EAFNOSUPPORT;
	v4.sin_addr.s_addr = sa->addr.w[3];
	memcpy(ret, &v4, sizeof(v4));
	*ret_len = sizeof(v4);
	return 0;
}

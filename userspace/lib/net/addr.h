/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* addr - work with the 16-byte addresses of the maps: IPv4 is ::ffff:a.b.c.d everywhere inside. No
 * state. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "culvert/abi/addr.h"

#define CV_ADDR_STRLEN     46 /* INET6_ADDRSTRLEN */
#define CV_SOCKADDR_STRLEN 56 /* "[...]:65535" */

/** cv_addr_from_v4() - @v4 in network byte order. */
struct cv_addr cv_addr_from_v4(__be32 v4);
struct cv_addr cv_addr_from_v6(const struct in6_addr *v6);
/** cv_addr_from_bytes() - 4 or 16 bytes, network order. Return: 0; -EINVAL other length. */
_must_check_ int cv_addr_from_bytes(const void *bytes, size_t n, struct cv_addr *ret);
/** cv_addr_bytes() - the address as short as it gets. Return: 4 or 16, bytes in @out. */
size_t cv_addr_bytes(const struct cv_addr *a, uint8_t out[16]);

bool cv_addr_is_v4(const struct cv_addr *a);
bool cv_addr_is_loopback(const struct cv_addr *a);
/** cv_addr_is_any() - 0.0.0.0 or ::. */
bool cv_addr_is_any(const struct cv_addr *a);
/** cv_addr_is_link_local() - 169.254/16, fe80::/10. */
bool cv_addr_is_link_local(const struct cv_addr *a);
bool cv_addr_equal(const struct cv_addr *a, const struct cv_addr *b);

/** cv_addr_parse() - "10.0.0.1", "fd00::1", no brackets, no zone. Return: 0; -EINVAL. */
_must_check_ int cv_addr_parse(const char *s, struct cv_addr *ret);
/** cv_addr_format() - Return: @buf, a mapped address as IPv4. */
const char *cv_addr_format(const struct cv_addr *a, char buf[CV_ADDR_STRLEN]);

/** cv_sockaddr_equal() - same address and port. */
bool cv_sockaddr_equal(const struct cv_sockaddr *a, const struct cv_sockaddr *b);
/** cv_sockaddr_format() - Return: @buf, "1.2.3.4:80" or "[::1]:80". */
const char *cv_sockaddr_format(const struct cv_sockaddr *sa, char buf[CV_SOCKADDR_STRLEN]);
/** cv_sockaddr_parse() - the same text back; the port is needed, 0..65535. Return: 0; -EINVAL. */
_must_check_ int cv_sockaddr_parse(const char *s, struct cv_sockaddr *ret);
/** cv_sockaddr_from_native() - AF_INET or AF_INET6. Return: 0; -EAFNOSUPPORT other family; -EINVAL
 * too short. */
_must_check_ int cv_sockaddr_from_native(const struct sockaddr *sa, socklen_t len,
					 struct cv_sockaddr *ret);
/**
 * cv_sockaddr_to_native() - for connect(2), bind(2).
 * @family: AF_INET; AF_INET6 (IPv4 stays mapped); AF_UNSPEC: AF_INET for a mapped address, else
 * AF_INET6. Return: 0; -EAFNOSUPPORT an IPv6 address for AF_INET, or another family.
 */
_must_check_ int cv_sockaddr_to_native(const struct cv_sockaddr *sa, int family,
				       struct sockaddr_storage *ret, socklen_t *ret_len);

/** cv_port_is_valid() - is it a port's number, 1 to 65535? */
static inline bool cv_port_is_valid(uint32_t n)
{
	return n >= 1 && n <= UINT16_MAX;
}

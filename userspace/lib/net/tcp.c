/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/cleanup.h"

#define TCP_BACKLOG     1024
#define KEEPALIVE_S     180
#define KEEPALIVE_TRIES 9

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int tcp_listen(const struct cv_addr *addr, uint16_t port, int *ret)
{
	struct cv_sockaddr sa = {.addr = *addr, .port = htons(port)};
	_cleanup_(close_fdp) int fd = -EBADF;
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	r = cv_sockaddr_to_native(&sa, AF_UNSPEC, &ss, &len);
	if (r < 0)
		return r;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (r == 0 && ss.ss_family == AF_INET6)
		r = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !cv_addr_is_any(addr));
	if (r < 0)
		return r;
	if (bind(fd, (const struct sockaddr *)&ss, len) < 0 || listen(fd, TCP_BACKLOG) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

int tcp_listen_any(uint16_t port, int *ret)
{
	const struct cv_addr any = {0}, any4 = cv_addr_from_v4(0);
	int r = tcp_listen(&any, port, ret);

	return r == -EAFNOSUPPORT ? tcp_listen(&any4, port, ret) : r;
}

int tcp_connect(const struct cv_sockaddr *to, int *ret)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	r = cv_sockaddr_to_native(to, AF_UNSPEC, &ss, &len);
	if (r < 0)
		return r;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = socket_set_nodelay_keepalive(fd);
	if (r < 0)
		return r;
	if (connect(fd, (const struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

int tcp_connect_result(int fd)
{
	socklen_t len = sizeof(int);
	int error = 0;
	char packet[1];

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	/* Since Linux 5.18 an ICMP error that a SYN meets is queued without IP_RECVERR, and stays
	 * when a later SYN gets through: EPOLLERR would then never end. */
	while (recv(fd, packet, sizeof(packet), MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
		continue;
	return -error;
}

int socket_set_nodelay_keepalive(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_S},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TRIES},
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		int r = set_int(fd, options[i].level, options[i].name, options[i].value);

		if (r < 0)
			return r;
	}
	return 0;
}

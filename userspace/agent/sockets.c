/* SPDX-License-Identifier: Apache-2.0 */
#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

#define LISTEN_BACKLOG 4096

void listeners_init(struct listeners *l)
{
	memset(l, 0, sizeof(*l));
	for (size_t i = 0; i < ZDS_LISTENERS; i++)
		l->fds[i] = -EBADF;
}

void listeners_close(struct listeners *l)
{
	for (size_t i = 0; i < ZDS_LISTENERS; i++)
		l->fds[i] = close_fd(l->fds[i]);
}

/* A port is at the same place in both. */
union wildcard {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};
_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
	       "one place");

/* One of ours that is free, else of the kernel's choice: any fixed one may be the application's.
 * What the kernel chooses is from a range in which applications listen, too, at ports that they
 * cannot do without; one that finds its own taken would not start in this pod any more. */
static int bind_wildcard(int fd, int family, uint16_t *ret_port)
{
	socklen_t len =
		family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	union wildcard sa;
	int r = -1;

	memset(&sa, 0, sizeof(sa));
	sa.any.sa_family = (sa_family_t)family;
	for (uint16_t port = SOCKETS_PORT_FIRST; r < 0 && port <= SOCKETS_PORT_LAST; port++) {
		sa.v4.sin_port = htons(port);
		r = bind(fd, &sa.any, len);
	}
	if (r < 0) {
		sa.v4.sin_port = 0;
		r = bind(fd, &sa.any, len);
	}
	if (r < 0 || getsockname(fd, &sa.any, &len) < 0)
		return -errno;
	*ret_port = ntohs(sa.v4.sin_port);
	return 0;
}

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Dual-stack, or IPv4 where the namespace has no IPv6. */
static int socket_wildcard(int type, int *ret_family)
{
	int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0 && errno != EAFNOSUPPORT)
		return -errno;
	if (fd < 0) {
		*ret_family = AF_INET;
		fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		return fd < 0 ? -errno : fd;
	}
	*ret_family = AF_INET6;
	r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	if (r < 0) {
		close_fd(fd);
		return r;
	}
	return fd;
}

static int listener_tcp(const struct sockets_marker *m, int *ret_fd, uint16_t *ret_port)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	int family = AF_INET, r;

	fd = socket_wildcard(SOCK_STREAM, &family);
	if (fd < 0)
		return fd;
	r = m->mark(m->arg, fd, CV_SOCKET_LISTEN);
	if (r < 0)
		return r;
	r = bind_wildcard(fd, family, ret_port);
	if (r < 0)
		return r;
	if (listen(fd, LISTEN_BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return family;
}

static int listener_udp(const struct sockets_marker *m, int *ret_fd, uint16_t *ret_port)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	int family = AF_INET, r;

	fd = socket_wildcard(SOCK_DGRAM, &family);
	if (fd < 0)
		return fd;
	r = m->mark(m->arg, fd, CV_SOCKET_LISTEN);
	if (r < 0)
		return r;
	r = set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
	if (r < 0)
		return r;
	if (family == AF_INET6) {
		r = set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
		if (r < 0)
			return r;
	}
	r = bind_wildcard(fd, family, ret_port);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return family;
}

/* Where there is no IPv6, the listeners that only serve to spread it are placeholders. */
static int listener_placeholder(int *ret_fd)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int open_outbound(const struct sockets_marker *m, struct listeners *l)
{
	int family = AF_INET6, r;

	for (size_t i = 0; i < CV_OUTBOUND_PORTS; i++) {
		int *fd = &l->fds[ZDS_LISTEN_OUTBOUND + i];

		if (i > 0 && family == AF_INET)
			r = listener_placeholder(fd);
		else
			r = family = listener_tcp(m, fd, &l->outbound_ports[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_dns(const struct sockets_marker *m, struct listeners *l)
{
	int family = AF_INET6, r;

	r = listener_tcp(m, &l->fds[ZDS_LISTEN_DNS_TCP], &l->dns_tcp_port);
	if (r < 0)
		return r;
	for (size_t i = 0; i < CV_DNS_PORTS; i++) {
		int *fd = &l->fds[ZDS_LISTEN_DNS_UDP + i];

		if (i > 0 && family == AF_INET)
			r = listener_placeholder(fd);
		else
			r = family = listener_udp(m, fd, &l->dns_udp_ports[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Machines inside the pod are served at the addresses that they ask for, see cv_reroute. What these
 * sockets accept inherits it. */
static int open_for_machines(struct listeners *l)
{
	static const size_t which[] = {ZDS_LISTEN_OUTBOUND, ZDS_LISTEN_DNS_TCP, ZDS_LISTEN_DNS_UDP};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(which); i++) {
		int fd = l->fds[which[i]], family = AF_INET;
		socklen_t len = sizeof(family);

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0)
			return -errno;
		r = family == AF_INET6 ? set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
				       : set_option(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
	}
	return r;
}

static int open_all(const struct sockets_marker *m, struct listeners *l)
{
	uint16_t port; /* of a steered listener: nobody needs it */
	int r;

	r = open_outbound(m, l);
	if (r < 0)
		return r;
	r = listener_tcp(m, &l->fds[ZDS_LISTEN_PLAIN], &port);
	if (r < 0)
		return r;
	r = listener_tcp(m, &l->fds[ZDS_LISTEN_HBONE], &port);
	if (r < 0)
		return r;
	r = open_dns(m, l);
	return r < 0 ? r : open_for_machines(l);
}

int listeners_open(const struct sockets_marker *m, struct listeners *ret)
{
	struct listeners l;
	int r;

	listeners_init(&l);
	r = open_all(m, &l);
	if (r < 0) {
		listeners_close(&l);
		return r;
	}
	*ret = l;
	return 0;
}

static int dial_one(const struct sockets_marker *m, enum cv_socket_kind kind, int family)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	int type = kind == CV_SOCKET_DNS ? SOCK_DGRAM : SOCK_STREAM;
	int r;

	fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = m->mark(m->arg, fd, kind);
	if (r < 0)
		return r;
	return TAKE_FD(fd);
}

int sockets_dial(const struct sockets_marker *m, enum cv_socket_kind kind, enum zds_family family,
		 unsigned int count, int *ret)
{
	int fds[ZDS_MAX_FDS];

	if (kind < CV_SOCKET_DIAL_APP || kind > CV_SOCKET_DNS || count < 1 || count > ZDS_MAX_FDS ||
	    (family != ZDS_INET && family != ZDS_INET6))
		return -EINVAL;
	for (unsigned int i = 0; i < count; i++) {
		fds[i] = dial_one(m, kind, family == ZDS_INET6 ? AF_INET6 : AF_INET);
		if (fds[i] < 0) {
			int r = fds[i];

			while (i > 0)
				close_fd(fds[--i]);
			return r;
		}
	}
	memcpy(ret, fds, count * sizeof(*fds));
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tcp - "::" serves both families; an occupied port is said so. */
#include "net/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/net_tstamp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static uint16_t port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct cv_sockaddr sa;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(cv_sockaddr_from_native((struct sockaddr *)&ss, len, &sa), 0);
	return ntohs(sa.port);
}

static void connects(const char *address, uint16_t port)
{
	struct cv_sockaddr sa = {.port = htons(port)};
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;

	assert_int_equal(cv_addr_parse(address, &sa.addr), 0);
	assert_int_equal(cv_sockaddr_to_native(&sa, AF_UNSPEC, &ss, &len), 0);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	(void)close(fd);
}

static void any_serves_both_families(void **state)
{
	struct cv_addr any;
	int fd = -EBADF, other = -EBADF;
	uint16_t port;

	assert_int_equal(cv_addr_parse("::", &any), 0);
	assert_int_equal(tcp_listen(&any, 0, &fd), 0);
	port = port_of(fd);
	connects("127.0.0.1", port);
	connects("::1", port);
	assert_int_equal(tcp_listen(&any, port, &other), -EADDRINUSE);
	assert_int_equal(other, -EBADF);
	(void)close(fd);
}

static void one_address_serves_itself(void **state)
{
	struct cv_addr lo;
	int fd = -EBADF;

	assert_int_equal(cv_addr_parse("127.0.0.1", &lo), 0);
	assert_int_equal(tcp_listen(&lo, 0, &fd), 0);
	connects("127.0.0.1", port_of(fd));
	(void)close(fd);
	assert_int_equal(cv_addr_parse("192.0.2.1", &lo), 0);
	assert_int_equal(tcp_listen(&lo, 0, &fd), -EADDRNOTAVAIL);
}

static void keepalive_is_as_agreed(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(int);
	int v = 0;

	assert_int_equal(socket_set_nodelay_keepalive(fd), 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &v, &len), 0);
	assert_int_equal(v, 180);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &v, &len), 0);
	assert_int_equal(v, 1);
	(void)close(fd);
	assert_int_equal(socket_set_nodelay_keepalive(fd), -EBADF);
}

static short events_of(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	(void)poll(&p, 1, 5000);
	return p.revents;
}

/* A time stamp of what was sent takes the place of the ICMP error: it is queued the same way. */
static void stale_errors_are_taken(void **state)
{
	int what = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
	int listener = -EBADF, fd = -EBADF;
	struct cv_sockaddr to = {0};
	struct pollfd p = {.events = POLLIN};

	assert_int_equal(cv_addr_parse("127.0.0.1", &to.addr), 0);
	assert_int_equal(tcp_listen(&to.addr, 0, &listener), 0);
	to.port = htons(port_of(listener));
	assert_int_equal(tcp_connect(&to, &fd), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &what, sizeof(what)), 0);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
	assert_true(events_of(fd) & POLLERR);
	assert_int_equal(tcp_connect_result(fd), 0);
	p.fd = fd;
	assert_int_equal(poll(&p, 1, 0), 0);
	(void)close(fd);

	(void)close(listener);
	assert_int_equal(tcp_connect(&to, &fd), 0);
	assert_true(events_of(fd) & POLLERR);
	assert_int_equal(tcp_connect_result(fd), -ECONNREFUSED);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_serves_both_families),
		cmocka_unit_test(one_address_serves_itself),
		cmocka_unit_test(keepalive_is_as_agreed),
		cmocka_unit_test(stale_errors_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

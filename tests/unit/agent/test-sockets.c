/* SPDX-License-Identifier: Apache-2.0 */
/* sockets - listeners and dial sockets, each marked before it can be used. */
#include "userspace/agent/sockets.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

struct marks {
	int count, fail_at;
	enum cv_socket_kind kind;
};

static int on_mark(void *arg, int fd, enum cv_socket_kind kind)
{
	struct marks *m = arg;
	int value;
	socklen_t len = sizeof(value);

	/* not bound, not listening, not connected yet */
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
	assert_int_equal(value, 0);
	m->kind = kind;
	return ++m->count == m->fail_at ? -ENOSPC : 0;
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void listeners_listen_on_ports_of_their_own(void **state)
{
	struct marks marks = {0};
	struct sockets_marker marker = {on_mark, &marks};
	struct listeners l;
	int before = open_fds(), value;
	socklen_t len = sizeof(value);

	listeners_init(&l);
	assert_int_equal(listeners_open(&marker, &l), 0);
	assert_int_equal(marks.count, ZDS_LISTENERS);
	assert_int_equal(marks.kind, CV_SOCKET_LISTEN);
	for (int i = 0; i < ZDS_LISTENERS; i++) {
		assert_int_equal(getsockopt(l.fds[i], SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
		assert_int_equal(value, i < ZDS_LISTEN_DNS_UDP);
		assert_int_equal(getsockopt(l.fds[i], SOL_SOCKET, SO_REUSEPORT, &value, &len), 0);
		assert_int_equal(value, 0);
		assert_true(fcntl(l.fds[i], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(l.fds[i], F_GETFD) & FD_CLOEXEC);
	}
	for (int i = 0; i < CV_OUTBOUND_PORTS; i++)
		assert_int_not_equal(l.outbound_ports[i], 0);
	assert_int_not_equal(l.dns_tcp_port, 0);
	assert_int_equal(
		getsockopt(l.fds[ZDS_LISTEN_DNS_UDP], IPPROTO_IP, IP_PKTINFO, &value, &len), 0);
	assert_int_equal(value, 1);
	listeners_close(&l);
	listeners_close(&l);
	assert_int_equal(open_fds(), before);
}

/* Return: a socket that is bound there as an application's; -errno. */
static int bound(int type, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, type, 0), r;

	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	r = -errno;
	(void)close(fd);
	return r;
}

/* gRPC's 50051 and others lie where the kernel chooses. */
static void listeners_leave_the_kernels_ports_to_applications(void **state)
{
	struct marks marks = {0};
	struct sockets_marker marker = {on_mark, &marks};
	struct listeners l;
	int taken = bound(SOCK_STREAM, SOCKETS_PORT_FIRST);

	listeners_init(&l);
	assert_int_equal(listeners_open(&marker, &l), 0);
	for (int i = 0; i < CV_OUTBOUND_PORTS; i++)
		assert_in_range(l.outbound_ports[i], SOCKETS_PORT_FIRST, SOCKETS_PORT_LAST);
	for (int i = 0; i < CV_DNS_PORTS; i++)
		assert_in_range(l.dns_udp_ports[i], SOCKETS_PORT_FIRST, SOCKETS_PORT_LAST);
	assert_in_range(l.dns_tcp_port, SOCKETS_PORT_FIRST, SOCKETS_PORT_LAST);
	if (taken >= 0)
		assert_int_not_equal(l.outbound_ports[0], SOCKETS_PORT_FIRST);
	listeners_close(&l);
	(void)close(taken);
}

static void where_all_are_taken_listeners_have_any_port(void **state)
{
	struct marks marks = {0};
	struct sockets_marker marker = {on_mark, &marks};
	int taken[SOCKETS_PORT_LAST - SOCKETS_PORT_FIRST + 1];
	struct listeners l;

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		taken[i] = bound(SOCK_STREAM, (uint16_t)(SOCKETS_PORT_FIRST + i));
	listeners_init(&l);
	assert_int_equal(listeners_open(&marker, &l), 0);
	for (int i = 0; i < CV_OUTBOUND_PORTS; i++)
		assert_not_in_range(l.outbound_ports[i], SOCKETS_PORT_FIRST, SOCKETS_PORT_LAST);
	assert_int_not_equal(l.dns_tcp_port, 0);
	listeners_close(&l);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (taken[i] >= 0)
			(void)close(taken[i]);
}

static void a_failed_mark_leaves_nothing_open(void **state)
{
	int before = open_fds();

	for (int at = 1; at <= ZDS_LISTENERS; at++) {
		struct marks marks = {.fail_at = at};
		struct sockets_marker marker = {on_mark, &marks};
		struct listeners l;

		listeners_init(&l);
		assert_int_equal(listeners_open(&marker, &l), -ENOSPC);
		assert_int_equal(l.fds[0], -EBADF);
		assert_int_equal(open_fds(), before);
	}
}

static void dial_sockets_have_their_kind_and_family(void **state)
{
	struct marks marks = {0};
	struct sockets_marker marker = {on_mark, &marks};
	int fds[ZDS_MAX_FDS], before = open_fds(), value;
	socklen_t len = sizeof(value);

	assert_int_equal(sockets_dial(&marker, CV_SOCKET_DIAL_HBONE, ZDS_INET, ZDS_MAX_FDS, fds),
			 0);
	assert_int_equal(marks.count, ZDS_MAX_FDS);
	assert_int_equal(marks.kind, CV_SOCKET_DIAL_HBONE);
	for (int i = 0; i < ZDS_MAX_FDS; i++)
		(void)close(fds[i]);
	assert_int_equal(sockets_dial(&marker, CV_SOCKET_DNS, ZDS_INET6, 1, fds), 0);
	assert_int_equal(getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &value, &len), 0);
	assert_int_equal(value, SOCK_DGRAM);
	assert_int_equal(getsockopt(fds[0], SOL_SOCKET, SO_DOMAIN, &value, &len), 0);
	assert_int_equal(value, AF_INET6);
	(void)close(fds[0]);
	assert_int_equal(open_fds(), before);
}

static void what_makes_no_sense_is_refused(void **state)
{
	struct marks marks = {.fail_at = 3};
	struct sockets_marker marker = {on_mark, &marks};
	int fds[ZDS_MAX_FDS] = {-7}, before = open_fds();

	assert_int_equal(sockets_dial(&marker, CV_SOCKET_APP, ZDS_INET, 1, fds), -EINVAL);
	assert_int_equal(sockets_dial(&marker, CV_SOCKET_LISTEN, ZDS_INET, 1, fds), -EINVAL);
	assert_int_equal(sockets_dial(&marker, CV_SOCKET_KIND_MAX, ZDS_INET, 1, fds), -EINVAL);
	assert_int_equal(sockets_dial(&marker, CV_SOCKET_DIAL_APP, ZDS_INET, 0, fds), -EINVAL);
	assert_int_equal(sockets_dial(&marker, CV_SOCKET_DIAL_APP, ZDS_INET, 65, fds), -EINVAL);
	assert_int_equal(sockets_dial(&marker, CV_SOCKET_DIAL_APP, (enum zds_family)2, 1, fds),
			 -EINVAL);
	assert_int_equal(sockets_dial(&marker, CV_SOCKET_DIAL_APP, ZDS_INET, 8, fds), -ENOSPC);
	assert_int_equal(fds[0], -7);
	assert_int_equal(open_fds(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listeners_listen_on_ports_of_their_own),
		cmocka_unit_test(listeners_leave_the_kernels_ports_to_applications),
		cmocka_unit_test(where_all_are_taken_listeners_have_any_port),
		cmocka_unit_test(a_failed_mark_leaves_nothing_open),
		cmocka_unit_test(dial_sockets_have_their_kind_and_family),
		cmocka_unit_test(what_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

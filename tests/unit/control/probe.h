/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* probe - asks a port of the control plane's as Prometheus and the kubelet do, in the test's loop,
 * also when many others have dialled it and say nothing. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/str.h"
#include "net/tcp.h"

#define STRANGERS     200
#define PROBE_WAIT_US 20000000
#define GET(path)     "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

struct probe {
	struct loop *loop; /* owned by the test */
	uint16_t port;
	char text[8192]; /* the last answer */
};

/* probe_init() - a loop, and a port that was free a moment ago. */
static void probe_init(struct probe *p)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct sockaddr_in6 sa = {0};
	socklen_t len = sizeof(sa);

	assert_int_equal(loop_new(&p->loop), 0);
	assert_int_equal(tcp_listen_any(0, &fd), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	p->port = ntohs(sa.sin6_port);
}

static int probe_dial(const struct probe *p)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons(p->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* probe_ask() - Return: the answer's status; the answer is in @p->text. */
static int probe_ask(struct probe *p, const char *what)
{
	_cleanup_(close_fdp) int fd = probe_dial(p);
	uint64_t end = now_monotonic_us() + PROBE_WAIT_US;
	size_t have = 0;
	int status = 0;
	ssize_t n = -1;

	assert_int_equal(send(fd, what, strlen(what), 0), strlen(what));
	while (n != 0 && have < sizeof(p->text) - 1 && now_monotonic_us() < end) {
		(void)loop_run_once(p->loop, 10);
		n = recv(fd, p->text + have, sizeof(p->text) - 1 - have, MSG_DONTWAIT);
		have += n > 0 ? (size_t)n : 0;
	}
	p->text[have] = '\0';
	(void)sscanf(p->text, "HTTP/1.1 %d ", &status); /* NOLINT(cert-err34-c): 0 is no status */
	return status;
}

/* probe_ask_in_crowd() - the same, among STRANGERS that say nothing. */
static int probe_ask_in_crowd(struct probe *p, const char *what)
{
	int fds[STRANGERS], status;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = probe_dial(p);
	status = probe_ask(p, what);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
	return status;
}

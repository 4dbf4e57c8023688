/* SPDX-License-Identifier: Apache-2.0 */
/* readiness - alive from the start, ready once the mesh is served; nobody keeps the kubelet out. */
#include "userspace/control/readiness.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net/tcp.h"
#include "userspace/control/control.h"

#define STRANGERS 200

/* Stands for the control plane. */
struct control {
	bool is_ready;
};

bool __wrap_control_is_ready(const struct control *c);

bool __wrap_control_is_ready(const struct control *c)
{
	return c->is_ready;
}

struct fixture {
	struct loop *loop;
	struct control *control;
	struct http_server *server;
	uint16_t port;
};

/* A port that was free a moment ago. */
static uint16_t port_find(void)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct sockaddr_in6 sa = {0};
	socklen_t len = sizeof(sa);

	assert_int_equal(tcp_listen_any(0, &fd), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	return ntohs(sa.sin6_port);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_set_level(LOG_ERROR);
	*state = f;
	assert_int_equal(loop_new(&f->loop), 0);
	f->port = port_find();
	return readiness_serve(f->loop, f->port, &f->control, &f->server);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)http_server_free(f->server);
	(void)loop_free(f->loop);
	free(f);
	return 0;
}

static int dial(const struct fixture *f)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons(f->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* Return: the answer's status. */
static int ask(struct fixture *f, const char *what)
{
	_cleanup_(close_fdp) int fd = dial(f);
	char text[512] = "";
	int status = 0;

	assert_int_equal(send(fd, what, strlen(what), 0), strlen(what));
	for (int i = 0; i < 500 && recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT) <= 0; i++)
		(void)loop_run_once(f->loop, 10);
	(void)sscanf(text, "HTTP/1.1 %d ", &status); /* NOLINT(cert-err34-c): 0 is no status */
	return status;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void is_alive_before_it_is_ready(void **state)
{
	struct fixture *f = *state;
	struct control control = {false};

	assert_int_equal(ask(f, GET("/live")), 200);
	assert_int_equal(ask(f, GET("/ready")), 503);
	f->control = &control;
	assert_int_equal(ask(f, GET("/ready")), 503);
	control.is_ready = true;
	assert_int_equal(ask(f, GET("/ready")), 200);
	assert_int_equal(ask(f, GET("/live")), 200);
}

static void tells_nothing_else(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, GET("/status")), 404);
	assert_int_equal(ask(f, "POST /ready HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), 405);
}

static void strangers_that_say_nothing_keep_nobody_out(void **state)
{
	struct fixture *f = *state;
	int fds[STRANGERS];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial(f);
	assert_int_equal(ask(f, GET("/live")), 200);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}

static void a_port_that_is_taken_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct http_server *other = NULL;

	assert_int_equal(readiness_serve(f->loop, f->port, &f->control, &other), -EADDRINUSE);
	assert_int_equal(readiness_serve(f->loop, 0, &f->control, &other), 0);
	assert_null(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(is_alive_before_it_is_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_nothing_else, setup, teardown),
		cmocka_unit_test_setup_teardown(strangers_that_say_nothing_keep_nobody_out, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_port_that_is_taken_is_an_error, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

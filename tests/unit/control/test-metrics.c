/* SPDX-License-Identifier: Apache-2.0 */
/* metrics - its own port from the start on, before there is a control plane; well-formed; nobody
 * keeps Prometheus out. */
#include "userspace/control/metrics.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"
#include "net/tcp.h"

#define STRANGERS 200
#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

struct fixture {
	struct loop *loop;
	struct control *control; /* NULL: not there yet */
	struct metrics *metrics;
	uint16_t port;
	char text[8192]; /* the last answer */
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

	log_set_level(LOG_OFF);
	*state = f;
	assert_int_equal(loop_new(&f->loop), 0);
	f->port = port_find();
	return metrics_new(f->loop, f->port, &f->control, &f->metrics);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)metrics_free(f->metrics);
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

/* Return: the answer's status; the answer is in @f->text. */
static int ask(struct fixture *f, const char *what)
{
	_cleanup_(close_fdp) int fd = dial(f);
	uint64_t end = now_monotonic_us() + 20000000;
	size_t have = 0;
	int status = 0;
	ssize_t n = -1;

	assert_int_equal(send(fd, what, strlen(what), 0), strlen(what));
	while (n != 0 && have < sizeof(f->text) - 1 && now_monotonic_us() < end) {
		(void)loop_run_once(f->loop, 10);
		n = recv(fd, f->text + have, sizeof(f->text) - 1 - have, MSG_DONTWAIT);
		have += n > 0 ? (size_t)n : 0;
	}
	f->text[have] = '\0';
	(void)sscanf(f->text, "HTTP/1.1 %d ", &status); /* NOLINT(cert-err34-c): 0 is no status */
	return status;
}

static void the_process_tells_of_itself_from_the_start(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, GET("/metrics")), 200);
	/* istiod's counters have no suffix: that is this format's only */
	assert_non_null(strcasestr(f->text, "content-type: text/plain; version=0.0.4"));
	assert_non_null(strstr(f->text, "\nistio_build{component=\"pilot\",tag=\"" CULVERT_VERSION
					"\"} 1\n"));
	assert_non_null(strstr(f->text, "\n# TYPE process_cpu_seconds_total counter\n"));
	assert_non_null(strstr(f->text, "\nprocess_resident_memory_bytes "));
	assert_non_null(strstr(f->text, "\nistiod_uptime_seconds "));
	assert_null(strstr(f->text, "pilot_xds"));
}

static void tells_nothing_else(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, GET("/")), 404);
	assert_int_equal(ask(f, GET("/status")), 404);
	assert_int_equal(ask(f, "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), 405);
}

static void strangers_that_say_nothing_keep_nobody_out(void **state)
{
	struct fixture *f = *state;
	int fds[STRANGERS];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial(f);
	assert_int_equal(ask(f, GET("/metrics")), 200);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}

static void a_port_that_is_taken_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct metrics *other = NULL;

	assert_int_equal(metrics_new(f->loop, f->port, &f->control, &other), -EADDRINUSE);
	assert_null(other);
	assert_int_equal(metrics_new(f->loop, 0, &f->control, &other), 0);
	assert_null(metrics_free(other));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_process_tells_of_itself_from_the_start),
		TEST(tells_nothing_else),
		TEST(strangers_that_say_nothing_keep_nobody_out),
		TEST(a_port_that_is_taken_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* server - answers what is asked, refuses what is odd, survives clients that leave. */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/files_limit.h"
#include "net/tcp.h"

#define BIG (3 * 1024 * 1024)

struct fixture {
	struct loop *loop;
	struct http_server *server;
	struct sockaddr_storage ss;
	socklen_t len;
	struct http_response *deferred;
	int calls;
	char last[256];
};

static void handler(const struct http_request *req, struct http_response *resp, void *arg)
{
	struct fixture *f = arg;

	f->calls++;
	(void)snprintf(f->last, sizeof(f->last), "%s %s?%s", req->method, req->path, req->query);
	if (streq(req->path, "/defer")) {
		f->deferred = resp;
		http_response_defer(resp);
		return;
	}
	if (streq(req->path, "/big")) {
		assert_int_equal(buf_reserve(&resp->body, BIG), 0);
		memset(buf_tail(&resp->body), 'b', BIG);
		buf_produce(&resp->body, BIG);
		return;
	}
	resp->status = streq(req->path, "/ok") ? 200 : 404;
	assert_int_equal(buf_append_str(&resp->body, "body\n"), 0);
}

static int listen_here(struct fixture *f, int *ret)
{
	struct cv_addr lo;

	f->len = sizeof(f->ss);
	return cv_addr_parse("127.0.0.1", &lo) < 0 || tcp_listen(&lo, 0, ret) < 0 ||
	       getsockname(*ret, (struct sockaddr *)&f->ss, &f->len) < 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd = -EBADF;

	*state = f;
	return listen_here(f, &fd) || loop_new(&f->loop) < 0 ||
	       http_server_new(f->loop, fd, handler, f, &f->server) < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)http_server_free(f->server);
	(void)loop_free(f->loop);
	free(f);
	return 0;
}

static int dial(struct fixture *f)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&f->ss, f->len), 0);
	return fd;
}

static int dial_from(struct fixture *f, const char *address)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, address, &from.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&f->ss, f->len), 0);
	return fd;
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_run_once(f->loop, i == 0 ? 20 : 0), 0);
}

/* answer() - all that comes until EOF; closes. @ret is NUL-terminated and cut to @size. Return:
 * length. */
static size_t answer(struct fixture *f, int fd, char *ret, size_t size)
{
	size_t len = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char buf[65536];
		ssize_t n;

		assert_int_equal(loop_run_once(f->loop, 0), 0);
		if (poll(&p, 1, 10) == 0)
			continue;
		n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0)
			break;
		if (len < size)
			memcpy(ret + len, buf, MIN((size_t)n, size - len));
		len += (size_t)n;
	}
	ret[MIN(len, size - 1)] = '\0';
	(void)close(fd);
	return len;
}

static const char *ask(struct fixture *f, const char *request)
{
	static char text[4096];
	int fd = dial(f);

	assert_int_equal(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
	(void)answer(f, fd, text, sizeof(text));
	return text;
}

static void answers_a_request(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(ask(f, "GET /ok?a=1 HTTP/1.1\r\nHost: x\r\n\r\n"),
			    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
			    "Content-Length: 5\r\nConnection: close\r\n\r\nbody\n");
	assert_string_equal(f->last, "GET /ok?a=1");
	assert_non_null(strstr(ask(f, "POST /x HTTP/1.0\r\n\r\n"), "404 Not Found"));
	assert_string_equal(f->last, "POST /x?");
	assert_string_equal(strstr(ask(f, "HEAD /ok HTTP/1.1\r\n\r\n"), "\r\n\r\n"), "\r\n\r\n");
	assert_string_equal(f->last, "GET /ok?");
}

static void refuses_what_is_odd(void **state)
{
	static const struct {
		const char *request, *status;
	} table[] = {
		{"\r\n\r\n", " 400 "},
		{"GET\r\n\r\n", " 400 "},
		{"GET /ok\r\n\r\n", " 400 "},
		{"GET ok HTTP/1.1\r\n\r\n", " 400 "},
		{"GET http://x/ok HTTP/1.1\r\n\r\n", " 400 "},
		{"GET /ok HTTP/2.0\r\n\r\n", " 400 "},
		{"GET /o\x01k HTTP/1.1\r\n\r\n", " 400 "},
		{"GET /ok HTTP/1.1 x\r\n\r\n", " 400 "},
		{"GET /ok HTTP/1.1\r\nno colon\r\n\r\n", " 400 "},
		{"GET /ok HTTP/1.1\r\nContent-Length: -1\r\n\r\n", " 400 "},
		{"GET /ok HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", " 413 "},
		{"GET /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", " 501 "},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", " 400 "},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_non_null(strstr(ask(f, table[i].request), table[i].status));
	assert_int_equal(f->calls, 0);
}

static void heads_are_bounded(void **state)
{
	struct fixture *f = *state;
	static char big[9000];
	int n = snprintf(big, sizeof(big), "GET /ok HTTP/1.1\r\nX: ");

	memset(big + n, 'a', sizeof(big) - (size_t)n - 1);
	assert_non_null(strstr(ask(f, big), " 431 "));
	assert_int_equal(f->calls, 0);
}

static void a_request_may_come_byte_by_byte(void **state)
{
	static const char request[] = "POST /ok HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
	struct fixture *f = *state;
	char text[512];
	int fd = dial(f);

	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		assert_int_equal(send(fd, request + i, 1, 0), 1);
		assert_int_equal(loop_run_once(f->loop, 20), 0);
	}
	(void)answer(f, fd, text, sizeof(text));
	assert_non_null(strstr(text, " 200 OK"));
	assert_int_equal(f->calls, 1);
}

static void a_large_answer_arrives_whole(void **state)
{
	struct fixture *f = *state;
	char text[256];
	int fd = dial(f);

	assert_int_equal(send(fd, "GET /big HTTP/1.1\r\n\r\n", 21, 0), 21);
	assert_true(answer(f, fd, text, sizeof(text)) > BIG);
	assert_non_null(strstr(text, "Content-Length: 3145728\r\n"));
}

static void an_answer_may_come_later(void **state)
{
	struct fixture *f = *state;
	char text[512];
	int fd = dial(f);

	assert_int_equal(send(fd, "GET /defer HTTP/1.1\r\n\r\n", 23, 0), 23);
	turn(f);
	assert_non_null(f->deferred);
	assert_int_equal(buf_append_str(&f->deferred->body, "later"), 0);
	http_response_finish(f->deferred);
	(void)answer(f, fd, text, sizeof(text));
	assert_non_null(strstr(text, "\r\n\r\nlater"));
}

static void the_asker_may_leave_first(void **state)
{
	struct fixture *f = *state;
	struct linger reset = {.l_onoff = 1};
	int fd = dial(f);

	assert_int_equal(send(fd, "GET /defer HTTP/1.1\r\n\r\n", 23, 0), 23);
	turn(f);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	(void)close(fd);
	turn(f);
	http_response_finish(f->deferred);
	/* And the server before the answer. */
	fd = dial(f);
	assert_int_equal(send(fd, "GET /defer HTTP/1.1\r\n\r\n", 23, 0), 23);
	turn(f);
	f->server = http_server_free(f->server);
	http_response_finish(f->deferred);
	(void)close(fd);
}

static void many_connections_wait_their_turn(void **state)
{
	struct fixture *f = *state;
	int fds[100];
	char text[512];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial(f);
	turn(f);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_int_equal(send(fds[i], "GET /ok HTTP/1.1\r\n\r\n", 20, 0), 20);
		(void)answer(f, fds[i], text, sizeof(text));
		assert_non_null(strstr(text, " 200 OK"));
	}
	assert_int_equal(f->calls, 100);
}

static void fds_close(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)close(fds[i]);
}

/* The fixture's server with other settings. */
static void open_anew(struct fixture *f, struct http_server_config *config)
{
	f->server = http_server_free(f->server);
	assert_int_equal(listen_here(f, &config->listen_fd), 0);
	assert_int_equal(http_server_open(config, &f->server), 0);
}

/* Connections that have all come before the first one asks. */
static void all_are_answered(struct fixture *f, int *fds, size_t n)
{
	char text[512];

	for (size_t i = 0; i < n; i++)
		fds[i] = dial(f);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	for (size_t i = 0; i < n; i++)
		(void)send(fds[i], "GET /ok HTTP/1.1\r\n\r\n", 20, MSG_NOSIGNAL);
	for (size_t i = 0; i < n; i++) {
		(void)answer(f, fds[i], text, sizeof(text));
		assert_non_null(strstr(text, " 200 OK"));
	}
}

static void the_oldest_makes_room_where_strangers_reach_it(void **state)
{
	struct fixture *f = *state;
	struct http_server_config config = {
		.loop = f->loop, .handler = handler, .arg = f, .is_crowd_cut = true};
	int fds[100];
	char text[512];

	open_anew(f, &config);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial(f);
	turn(f);
	assert_int_equal(recv(fds[0], text, sizeof(text), 0), 0);
	for (size_t i = ARRAY_SIZE(fds) - 1; i >= ARRAY_SIZE(fds) / 2; i--) {
		assert_int_equal(send(fds[i], "GET /ok HTTP/1.1\r\n\r\n", 20, 0), 20);
		(void)answer(f, fds[i], text, sizeof(text));
		assert_non_null(strstr(text, " 200 OK"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds) / 2; i++)
		(void)close(fds[i]);
}

/* What they ask for is still on its way when the next one comes. */
static void many_at_once_are_answered_beside_strangers_that_say_nothing(void **state)
{
	struct fixture *f = *state;
	struct http_server_config config = {.loop = f->loop,
					    .handler = handler,
					    .arg = f,
					    .is_crowd_cut = true,
					    .crowd_us = 500000};
	int silent[64], fds[200];

	open_anew(f, &config);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		silent[i] = dial(f);
	all_are_answered(f, fds, ARRAY_SIZE(fds));
	fds_close(silent, ARRAY_SIZE(silent));
}

#define CROWD_US 2000000

/* Those that have come cost who asks from elsewhere a tenth of their time once, however many there
 * are, and what is asked by many at once is not cut for theirs. */
static void strangers_of_other_addresses_cost_next_to_nothing(void **state)
{
	struct fixture *f = *state;
	struct http_server_config config = {.loop = f->loop,
					    .handler = handler,
					    .arg = f,
					    .is_crowd_cut = true,
					    .crowd_us = CROWD_US};
	int silent[400], fds[100];
	uint64_t begun;

	open_anew(f, &config);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		silent[i] = dial_from(f, i % 2 ? "127.0.0.2" : "127.0.0.3");
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	}
	begun = loop_now_us(f->loop);
	all_are_answered(f, fds, ARRAY_SIZE(fds));
	assert_true(loop_now_us(f->loop) - begun < CROWD_US);
	fds_close(silent, ARRAY_SIZE(silent));
}

static void crowd_open(struct fixture *f, uint64_t crowd_us)
{
	struct http_server_config config = {.loop = f->loop,
					    .handler = handler,
					    .arg = f,
					    .is_crowd_cut = true,
					    .crowd_us = crowd_us};

	open_anew(f, &config);
}

#define STALL_CROWD_US 200000

/* We do nothing for longer than anybody may; others come. Each has said what it had to say by then:
 * the first half where no event has told of it yet, the second where some have. */
static void our_own_stall_is_nobodys_silence(void **state)
{
	static const char *const halves[] = {"GET /ok HT", "TP/1.1\r\n\r"};
	struct fixture *f = *state;
	int asking[64], others[2][20];
	char text[512];

	crowd_open(f, STALL_CROWD_US);
	for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
		asking[i] = dial(f);
	turn(f);
	for (size_t half = 0; half < 2; half++) {
		(void)usleep(STALL_CROWD_US + 50000);
		for (size_t i = 0; half == 0 && i < ARRAY_SIZE(others[0]); i++)
			others[half][i] = dial_from(f, "127.0.0.2");
		for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
			assert_int_equal(
				send(asking[i], halves[half], strlen(halves[half]), MSG_NOSIGNAL),
				strlen(halves[half]));
		for (size_t i = 0; half == 1 && i < ARRAY_SIZE(others[0]); i++)
			others[half][i] = dial_from(f, "127.0.0.2");
		assert_int_equal(loop_run_once(f->loop, 20), 0);
		/* the order of events is that of the next time */
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
		(void)send(asking[i], "\n", 1, MSG_NOSIGNAL);
	for (size_t i = 0; i < ARRAY_SIZE(asking); i++) {
		(void)answer(f, asking[i], text, sizeof(text));
		assert_non_null(strstr(text, " 200 OK"));
	}
	fds_close(others[0], ARRAY_SIZE(others[0]));
	fds_close(others[1], ARRAY_SIZE(others[1]));
}

/* Byte by byte, or with an answer that is not taken away, nobody keeps others out for long. */
static void saying_little_or_lingering_keeps_nobody_out(void **state)
{
	static const char *const words[] = {"G", "x\r\n\r\n"};
	struct fixture *f = *state;
	int silent[64], fd;
	char text[512];

	for (size_t w = 0; w < ARRAY_SIZE(words); w++) {
		struct pollfd p;
		uint64_t begun;

		crowd_open(f, STALL_CROWD_US);
		for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
			silent[i] = dial_from(f, "127.0.0.2");
			(void)send(silent[i], words[w], strlen(words[w]), MSG_NOSIGNAL);
		}
		turn(f);
		begun = loop_now_us(f->loop);
		fd = dial(f);
		assert_int_equal(send(fd, "GET /ok HTTP/1.1\r\n\r\n", 20, 0), 20);
		p = (struct pollfd){.fd = fd, .events = POLLIN};
		while (poll(&p, 1, 0) == 0) {
			for (size_t i = 0; w == 0 && i < ARRAY_SIZE(silent); i++)
				(void)send(silent[i], words[w], 1, MSG_NOSIGNAL);
			assert_int_equal(loop_run_once(f->loop, 5), 0);
		}
		(void)answer(f, fd, text, sizeof(text));
		assert_non_null(strstr(text, " 200 OK"));
		assert_true(loop_now_us(f->loop) - begun < STALL_CROWD_US * 4);
		fds_close(silent, ARRAY_SIZE(silent));
	}
}

/* More than are kept: whose there are most of them go, not whoever comes last. */
static void what_waits_is_bounded_by_address(void **state)
{
	struct fixture *f = *state;
	struct http_server_config config = {.loop = f->loop,
					    .handler = handler,
					    .arg = f,
					    .is_crowd_cut = true,
					    .crowd_us = 10000000};
	int silent[1200], fd;
	char text[512];

	assert_true(files_limit_raise(4096) >= 2500); /* both ends */
	open_anew(f, &config);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		silent[i] = dial_from(f, "127.0.0.2");
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	}
	fd = dial(f);
	assert_int_equal(send(fd, "GET /ok HTTP/1.1\r\n\r\n", 20, 0), 20);
	(void)answer(f, fd, text, sizeof(text));
	assert_non_null(strstr(text, " 200 OK"));
	assert_int_equal(recv(silent[ARRAY_SIZE(silent) - 1], text, 1, MSG_DONTWAIT), 0);
	fds_close(silent, ARRAY_SIZE(silent));
}

static void bodies_that_do_not_come_make_room_where_strangers_reach_it(void **state)
{
	static const char promise[] = "POST /ok HTTP/1.1\r\nContent-Length: 1000\r\n\r\n",
			  word[] = "POST /ok HTTP/1.1\r\nContent-Length: 3\r\n\r\nyes";
	struct fixture *f = *state;
	struct http_server_config config = {.loop = f->loop,
					    .handler = handler,
					    .arg = f,
					    .is_crowd_cut = true,
					    .body_max = 1000,
					    .total_max = 2000};
	int fds[2], fd;
	char text[512];

	open_anew(f, &config);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial(f);
		assert_int_equal(send(fds[i], promise, strlen(promise), 0), strlen(promise));
		turn(f);
	}
	fd = dial(f);
	assert_int_equal(send(fd, word, strlen(word), 0), strlen(word));
	(void)answer(f, fd, text, sizeof(text));
	assert_non_null(strstr(text, " 200 OK"));
	/* the older of the two has gone, no more than that */
	assert_int_equal(recv(fds[0], text, sizeof(text), MSG_DONTWAIT), 0);
	assert_int_equal(recv(fds[1], text, sizeof(text), MSG_DONTWAIT), -1);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void queries_are_taken_apart(void **state)
{
	char v[8];

	assert_int_equal(http_query_get("level=debug&x=1", "level", v, sizeof(v)), 0);
	assert_string_equal(v, "debug");
	assert_int_equal(http_query_get("a=1&reset", "reset", v, sizeof(v)), 0);
	assert_string_equal(v, "");
	assert_int_equal(http_query_get("a=%41%3d", "a", v, sizeof(v)), 0);
	assert_string_equal(v, "A=");
	assert_int_equal(http_query_get("level=debug", "lev", v, sizeof(v)), -ENOENT);
	assert_int_equal(http_query_get("", "a", v, sizeof(v)), -ENOENT);
	assert_int_equal(http_query_get("a=%4", "a", v, sizeof(v)), -EINVAL);
	assert_int_equal(http_query_get("a=%00", "a", v, sizeof(v)), -EINVAL);
	assert_int_equal(http_query_get("a=%zz", "a", v, sizeof(v)), -EINVAL);
	assert_int_equal(http_query_get("a=12345678", "a", v, sizeof(v)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers_a_request, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_what_is_odd, setup, teardown),
		cmocka_unit_test_setup_teardown(heads_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_may_come_byte_by_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(a_large_answer_arrives_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_may_come_later, setup, teardown),
		cmocka_unit_test_setup_teardown(the_asker_may_leave_first, setup, teardown),
		cmocka_unit_test_setup_teardown(many_connections_wait_their_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(the_oldest_makes_room_where_strangers_reach_it,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			many_at_once_are_answered_beside_strangers_that_say_nothing, setup,
			teardown),
		cmocka_unit_test_setup_teardown(strangers_of_other_addresses_cost_next_to_nothing,
						setup, teardown),
		cmocka_unit_test_setup_teardown(our_own_stall_is_nobodys_silence, setup, teardown),
		cmocka_unit_test_setup_teardown(saying_little_or_lingering_keeps_nobody_out, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_waits_is_bounded_by_address, setup, teardown),
		cmocka_unit_test_setup_teardown(
			bodies_that_do_not_come_make_room_where_strangers_reach_it, setup,
			teardown),
		cmocka_unit_test(queries_are_taken_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

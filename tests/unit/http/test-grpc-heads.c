/* SPDX-License-Identifier: Apache-2.0 */
/* grpc - header blocks: what becomes of a peer whose blocks lead nowhere, and of one that only
 * makes many calls. */
#include "http/grpc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"

#define LARGE   2000
#define N_LARGE 200 /* more of them than any peer may waste */

struct fixture {
	struct loop *loop;
	struct grpc_server *server;
	struct grpc_client *client;
	struct grpc_call *held;
	bool has_ended, is_closed;
	int status;
};

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
}

static void on_half_close(struct grpc_call *c, void *arg)
{
	grpc_call_finish(c, GRPC_OK, NULL);
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	struct fixture *f = arg;

	f->has_ended = true;
	f->status = status;
}

static void on_server_end(struct grpc_call *c, void *arg, int status, const char *message)
{
}

static const struct grpc_call_ops client_ops = {.on_message = on_message, .on_end = on_end};
static const struct grpc_call_ops server_ops = {on_message, on_half_close, on_server_end};

static void serve_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	grpc_call_set_ops(c, &server_ops, arg);
}

static void refuse_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	grpc_call_finish(c, GRPC_UNAUTHENTICATED, NULL);
}

static void hold_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	((struct fixture *)arg)->held = c;
	grpc_call_hold(c);
	serve_open(c, peer, arg);
}

static void on_closed(void *arg, int error)
{
	((struct fixture *)arg)->is_closed = true;
}

static int set_up(void **state)
{
	static struct grpc_method methods[] = {
		{"/serve", 16, serve_open, NULL},
		{"/refuse", 16, refuse_open, NULL},
		{"/hold", 16, hold_open, NULL},
	};
	struct fixture *f = calloc(1, sizeof(*f));
	struct grpc_server_config config = {.listen_fd = -EBADF,
					    .methods = methods,
					    .n_methods = ARRAY_SIZE(methods),
					    .max_connections = 2};
	int fds[2];

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		methods[i].arg = f;
	assert_int_equal(loop_new(&f->loop), 0);
	config.loop = f->loop;
	assert_int_equal(grpc_server_new(&config, &f->server), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(grpc_server_accept(f->server, fds[0]), 0);
	assert_int_equal(grpc_client_new(f->loop, fds[1], on_closed, f, &f->client), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)grpc_client_free(f->client);
	(void)grpc_server_free(f->server);
	(void)loop_free(f->loop);
	free(f);
	return 0;
}

/* A call whose headers nothing makes shorter. Return: of grpc_client_call(). */
static int call_large(struct fixture *f, const char *path, int i)
{
	char value[LARGE + 1];
	const struct grpc_metadata metadata[] = {{"authorization", value}};
	const struct grpc_call_config config = {.path = path,
						.metadata = metadata,
						.n_metadata = 1,
						.max_message = 16,
						.ops = &client_ops,
						.arg = f};
	struct grpc_call *call;
	int r;

	memset(value, '~', LARGE);
	value[LARGE] = '\0';
	value[i] = '^';
	f->has_ended = false;
	r = grpc_client_call(f->client, &config, &call);
	if (r == 0)
		grpc_call_half_close(call);
	return r;
}

static void run_until_end(struct fixture *f)
{
	for (int i = 0; i < 1000 && !f->has_ended; i++) {
		(void)loop_run_once(f->loop, 10);
		if (f->held)
			grpc_call_go_on(f->held);
		f->held = NULL;
	}
	assert_true(f->has_ended);
}

static void who_is_refused_again_and_again_is_cut_off(void **state)
{
	struct fixture *f = *state;
	int i = 0;

	for (; i < N_LARGE && call_large(f, "/refuse", i) == 0; i++)
		run_until_end(f);
	assert_true(f->is_closed);
	assert_in_range(i, N_LARGE / 4, N_LARGE - 1);
}

static void calls_that_are_served_may_be_as_many_as_one_likes(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2 * N_LARGE; i++) {
		assert_int_equal(call_large(f, i % 2 ? "/serve" : "/hold", i), 0);
		run_until_end(f);
		assert_int_equal(f->status, GRPC_OK);
	}
	assert_false(f->is_closed);
}

/* Not a byte of its last part has to come for that. */
static void a_block_without_end_is_not_unpacked(void **state)
{
	static const char begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				    "\0\0\0\4\0\0\0\0\0"
				    "\0\0\1\1\0\0\0\0\1"
				    "\x83"                      /* HEADERS that do not end */
				    "\0\x3e\x80\x09\0\0\0\0\1"; /* CONTINUATION of 16000 bytes */
	struct fixture *f = *state;
	char answer[256];
	ssize_t n = -1;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(grpc_server_accept(f->server, fds[0]), 0);
	assert_int_equal(send(fds[1], begin, sizeof(begin) - 1, 0), sizeof(begin) - 1);
	for (int i = 0; i < 100 && n != 0; i++) {
		(void)loop_run_once(f->loop, 1);
		n = recv(fds[1], answer, sizeof(answer), MSG_DONTWAIT);
	}
	assert_int_equal(n, 0);
	(void)close(fds[1]);
}

/* The server it calls promises, and has not acknowledged its SETTINGS, which forbid that. */
static void a_client_unpacks_no_promise(void **state)
{
	static const char promise[] = "\0\0\0\4\0\0\0\0\0"
				      "\0\0\5\5\4\0\0\0\1\0\0\0\2\x82";
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	f->client = grpc_client_free(f->client);
	assert_int_equal(grpc_client_new(f->loop, fds[0], on_closed, f, &f->client), 0);
	assert_int_equal(call_large(f, "/serve", 0), 0);
	for (int i = 0; i < 5; i++)
		(void)loop_run_once(f->loop, 1);
	assert_int_equal(send(fds[1], promise, sizeof(promise) - 1, 0), sizeof(promise) - 1);
	for (int i = 0; i < 100 && !f->is_closed; i++)
		(void)loop_run_once(f->loop, 1);
	assert_true(f->is_closed);
	(void)close(fds[1]);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(who_is_refused_again_and_again_is_cut_off),
		TEST(calls_that_are_served_may_be_as_many_as_one_likes),
		TEST(a_block_without_end_is_not_unpacked),
		TEST(a_client_unpacks_no_promise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

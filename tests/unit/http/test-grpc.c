/* SPDX-License-Identifier: Apache-2.0 */
/* grpc - client and server over a socketpair: messages, statuses, deadlines, and owners that leave
 * in the middle. */
#include "http/grpc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/str.h"
#include "tests/unit/fast-clock.h"
#include "tests/unit/turn.h"

#define BIG (3 * 1024 * 1024)

struct fixture {
	struct loop *loop;
	struct grpc_server *server;
	struct grpc_client *client;
	struct grpc_call *call;
	struct grpc_call *server_call;
	size_t n_messages, last_len, n_server_messages;
	uint64_t checksum;
	bool has_ended, is_closed, has_server_ended;
	bool must_free_in_message, must_free_in_end, must_cancel_in_message;
	int status, server_status;
	char message[256];
	char metadata[64];
};

static uint64_t sum(const uint8_t *p, size_t n)
{
	uint64_t s = n;

	for (size_t i = 0; i < n; i++)
		s = s * 31 + p[i];
	return s;
}

static void server_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	struct fixture *f = arg;

	f->n_server_messages++;
	assert_int_equal(grpc_call_send(c, data, len), 0);
}

static void server_half_close(struct grpc_call *c, void *arg)
{
	struct fixture *f = arg;

	f->server_call = NULL;
	grpc_call_finish(c, GRPC_NOT_FOUND, "50% of it\n\xc3\xa4");
}

static void server_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	struct fixture *f = arg;

	f->server_call = NULL;
	f->has_server_ended = true;
	f->server_status = status;
}

static const struct grpc_call_ops server_ops = {server_message, server_half_close, server_end};

static void echo_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	struct fixture *f = arg;
	const char *value = grpc_call_metadata(c, "clusterid");

	assert_int_equal(peer->uid, getuid());
	if (value)
		(void)snprintf(f->metadata, sizeof(f->metadata), "%s", value);
	f->server_call = c;
	grpc_call_set_ops(c, &server_ops, f);
}

static void refuse_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	grpc_call_finish(c, GRPC_UNAUTHENTICATED, NULL);
}

static void on_message(struct grpc_call *c, void *arg, const void *data, size_t len)
{
	struct fixture *f = arg;

	f->n_messages++;
	f->last_len = len;
	f->checksum = sum(data, len);
	if (f->must_cancel_in_message)
		grpc_call_cancel(c);
	if (f->must_free_in_message)
		f->client = grpc_client_free(f->client);
}

static void on_end(struct grpc_call *c, void *arg, int status, const char *message)
{
	struct fixture *f = arg;

	f->has_ended = true;
	f->status = status;
	(void)snprintf(f->message, sizeof(f->message), "%s", message);
	if (f->must_free_in_end)
		f->client = grpc_client_free(f->client);
}

static const struct grpc_call_ops client_ops = {.on_message = on_message, .on_end = on_end};

static void on_closed(void *arg, int error)
{
	struct fixture *f = arg;

	f->is_closed = true;
}

/* One that is not let in yet. */
static void hold_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	echo_open(c, peer, arg);
	grpc_call_hold(c);
}

static struct grpc_method methods[] = {
	{"/test.Echo/Echo", BIG, echo_open, NULL},
	{"/test.Echo/Small", 16, echo_open, NULL},
	{"/test.Echo/Refuse", 16, refuse_open, NULL},
	{"/test.Echo/Hold", 16, hold_open, NULL},
};

/* fixture_new() - @is_crowd_cut: as a server that strangers reach has it. */
static struct fixture *fixture_new(bool is_crowd_cut)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct grpc_server_config config = {
		.listen_fd = -EBADF,
		.methods = methods,
		.n_methods = ARRAY_SIZE(methods),
		.max_connections = 2,
		.is_crowd_cut = is_crowd_cut,
	};
	int fds[2];

	assert_non_null(f);
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		methods[i].arg = f;
	assert_int_equal(loop_new(&f->loop), 0);
	config.loop = f->loop;
	assert_int_equal(grpc_server_new(&config, &f->server), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(grpc_server_accept(f->server, fds[0]), 0);
	assert_int_equal(grpc_client_new(f->loop, fds[1], on_closed, f, &f->client), 0);
	return f;
}

static int setup(void **state)
{
	*state = fixture_new(false);
	return 0;
}

static int setup_for_strangers(void **state)
{
	*state = fixture_new(true);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)grpc_client_free(f->client);
	(void)grpc_server_free(f->server);
	(void)loop_free(f->loop);
	free(f);
	return 0;
}

static void call(struct fixture *f, const char *path, uint64_t timeout_us, size_t max)
{
	static const struct grpc_metadata metadata[] = {{"clusterid", "Kubernetes"}};
	struct grpc_call_config config = {
		.path = path,
		.metadata = metadata,
		.n_metadata = 1,
		.timeout_us = timeout_us,
		.max_message = max,
		.ops = &client_ops,
		.arg = f,
	};

	assert_int_equal(grpc_client_call(f->client, &config, &f->call), 0);
}

static void run_until(struct fixture *f, const bool *flag)
{
	turn_until(f->loop, 10000, *flag);
	assert_true(*flag);
}

static void run_a_while(struct fixture *f)
{
	for (int i = 0; i < 30; i++)
		(void)loop_run_once(f->loop, 1);
}

static void carries_messages_and_status(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Echo", 0, BIG);
	assert_int_equal(grpc_call_send(f->call, "hello", 5), 0);
	assert_int_equal(grpc_call_send(f->call, "", 0), 0);
	grpc_call_half_close(f->call);
	assert_int_equal(grpc_call_send(f->call, "late", 4), -EPIPE);
	run_until(f, &f->has_ended);
	assert_int_equal(f->n_messages, 2);
	assert_int_equal(f->status, GRPC_NOT_FOUND);
	assert_string_equal(f->message, "50% of it\n\xc3\xa4");
	assert_string_equal(f->metadata, "Kubernetes");
}

static void carries_messages_larger_than_any_window(void **state)
{
	struct fixture *f = *state;
	uint8_t *big = malloc(BIG);

	assert_non_null(big);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (uint8_t)(i * 7 + (i >> 9));
	call(f, "/test.Echo/Echo", 0, BIG);
	assert_int_equal(grpc_call_send(f->call, big, BIG), 0);
	grpc_call_half_close(f->call);
	run_until(f, &f->has_ended);
	assert_int_equal(f->last_len, BIG);
	assert_true(f->checksum == sum(big, BIG));
	free(big);
}

static void refuses_a_message_over_the_servers_limit(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Small", 0, BIG);
	assert_int_equal(grpc_call_send(f->call, "seventeen bytes !", 17), 0);
	run_until(f, &f->has_ended);
	assert_int_equal(f->status, GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(f->n_messages, 0);
	assert_true(f->has_server_ended);
}

static void refuses_a_message_over_the_clients_limit(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Echo", 0, 4);
	assert_int_equal(grpc_call_send(f->call, "12345", 5), 0);
	run_until(f, &f->has_ended);
	assert_int_equal(f->status, GRPC_RESOURCE_EXHAUSTED);
	run_until(f, &f->has_server_ended);
}

static void answers_an_unknown_method(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Nothing", 0, BIG);
	run_until(f, &f->has_ended);
	assert_int_equal(f->status, GRPC_UNIMPLEMENTED);
}

static void passes_on_a_refusal(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Refuse", 0, BIG);
	assert_int_equal(grpc_call_send(f->call, "x", 1), 0);
	run_until(f, &f->has_ended);
	assert_int_equal(f->status, GRPC_UNAUTHENTICATED);
	assert_string_equal(f->message, "");
}

static void ends_a_call_at_its_deadline(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Echo", 20000, BIG);
	run_until(f, &f->has_ended);
	assert_int_equal(f->status, GRPC_DEADLINE_EXCEEDED);
	run_until(f, &f->has_server_ended);
	assert_int_equal(f->server_status, GRPC_CANCELLED);
}

static void a_cancelled_call_is_silent_here_and_ends_there(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Echo", 0, BIG);
	run_a_while(f);
	grpc_call_cancel(f->call);
	run_until(f, &f->has_server_ended);
	assert_false(f->has_ended);
}

static void a_call_cancelled_before_it_left_leaves_no_trace(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Echo", 0, BIG);
	assert_int_equal(grpc_call_send(f->call, "x", 1), 0);
	grpc_call_cancel(f->call);
	run_a_while(f);
	assert_false(f->has_ended);
	call(f, "/test.Echo/Echo", 0, BIG);
	assert_int_equal(grpc_call_send(f->call, "y", 1), 0);
	grpc_call_half_close(f->call);
	run_until(f, &f->has_ended);
	assert_int_equal(f->n_messages, 1);
}

static void may_be_cancelled_in_its_own_message(void **state)
{
	struct fixture *f = *state;

	f->must_cancel_in_message = true;
	call(f, "/test.Echo/Echo", 0, BIG);
	assert_int_equal(grpc_call_send(f->call, "a", 1), 0);
	assert_int_equal(grpc_call_send(f->call, "b", 1), 0);
	run_until(f, &f->has_server_ended);
	assert_int_equal(f->n_messages, 1);
	assert_false(f->has_ended);
}

static void the_client_may_be_freed_in_a_message(void **state)
{
	struct fixture *f = *state;

	f->must_free_in_message = true;
	call(f, "/test.Echo/Echo", 0, BIG);
	assert_int_equal(grpc_call_send(f->call, "a", 1), 0);
	run_until(f, &f->has_server_ended);
	assert_int_equal(f->n_messages, 1);
	assert_false(f->has_ended);
	assert_false(f->is_closed);
}

static void the_client_may_be_freed_in_an_end(void **state)
{
	struct fixture *f = *state;

	f->must_free_in_end = true;
	call(f, "/test.Echo/Echo", 10000, BIG);
	call(f, "/test.Echo/Echo", 10000, BIG);
	run_until(f, &f->has_ended);
	assert_false(f->is_closed);
}

static void calls_end_when_the_server_goes(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Echo", 0, BIG);
	run_a_while(f);
	f->server = grpc_server_free(f->server);
	run_until(f, &f->is_closed);
	assert_true(f->has_ended);
	assert_int_equal(f->status, GRPC_UNAVAILABLE);
	assert_int_equal(
		grpc_client_call(f->client,
				 &(struct grpc_call_config){.path = "/x", .ops = &client_ops},
				 &f->call),
		-ENOTCONN);
}

static void survives_garbage(void **state)
{
	static const char *const garbage[] = {
		"GET / HTTP/1.1\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
		char answer[4096];
		ssize_t n = 1;
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		assert_int_equal(grpc_server_accept(f->server, fds[0]), 0);
		assert_true(write(fds[1], garbage[i], strlen(garbage[i])) > 0);
		run_a_while(f);
		/* the server says what it has to say and closes */
		while (n > 0)
			n = recv(fds[1], answer, sizeof(answer), MSG_DONTWAIT);
		assert_true(n == 0 || errno == ECONNRESET);
		(void)close(fds[1]);
	}
}

static void keeps_to_the_limit_of_connections(void **state)
{
	struct fixture *f = *state;
	int a[2], b[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	assert_int_equal(grpc_server_accept(f->server, a[0]), 0);
	assert_int_equal(grpc_server_accept(f->server, b[0]), -ENOBUFS);
	(void)close(a[1]);
	(void)close(b[0]);
	(void)close(b[1]);
}

/* stranger() - Return: the end of a connection that says nothing. */
static int stranger(struct fixture *f)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(grpc_server_accept(f->server, fds[0]), 0);
	return fds[1];
}

/* is_cut() - has the server closed it, whatever it said before? */
static bool is_cut(int fd)
{
	char said[4096];
	ssize_t n = 1;

	while (n > 0)
		n = recv(fd, said, sizeof(said), MSG_DONTWAIT);
	return n == 0;
}

static void the_oldest_without_a_call_makes_room_where_strangers_reach_it(void **state)
{
	struct fixture *f = *state;
	int older, newer;

	call(f, "/test.Echo/Echo", 0, BIG);
	run_a_while(f);
	older = stranger(f);
	run_a_while(f);
	newer = stranger(f);
	run_a_while(f);
	assert_true(is_cut(older));
	assert_false(is_cut(newer));
	/* who has a call is older still, and stays */
	assert_int_equal(grpc_call_send(f->call, "hello", 5), 0);
	run_a_while(f);
	assert_int_equal(f->n_messages, 1);
	assert_false(f->is_closed);
	(void)close(older);
	(void)close(newer);
}

static void a_call_that_is_not_let_in_holds_no_place(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	call(f, "/test.Echo/Hold", 0, BIG);
	run_a_while(f);
	fds[0] = stranger(f);
	fds[1] = stranger(f);
	run_until(f, &f->is_closed);
	assert_true(f->has_server_ended); /* whoever asks about it hears of it */
	assert_false(is_cut(fds[0]));
	assert_false(is_cut(fds[1]));
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void two_minutes_pass(struct fixture *f)
{
	uint64_t end = now_monotonic_us() + 120000000;

	the_clock.is_fast = true;
	while (!f->is_closed && now_monotonic_us() < end)
		(void)loop_run_once(f->loop, 1000);
	the_clock.is_fast = false;
}

static void who_is_never_let_in_does_not_stay(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Refuse", 0, BIG);
	run_until(f, &f->has_ended);
	two_minutes_pass(f);
	assert_true(f->is_closed);
}

static void who_was_let_in_once_may_stay(void **state)
{
	struct fixture *f = *state;

	call(f, "/test.Echo/Hold", 0, BIG);
	run_a_while(f);
	grpc_call_go_on(f->server_call);
	grpc_call_cancel(f->call);
	run_until(f, &f->has_server_ended);
	two_minutes_pass(f);
	assert_false(f->is_closed);
}

/* Where a server was, nobody answers: the client does not wait for TCP to notice. */
static void a_server_that_never_greets_is_given_up(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	(void)grpc_client_free(f->client);
	f->client = NULL;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(grpc_client_new(f->loop, fds[1], on_closed, f, &f->client), 0);
	call(f, "/test.Echo/Echo", 0, BIG);
	run_until(f, &f->is_closed);
	assert_true(f->has_ended);
	assert_int_equal(f->status, GRPC_UNAVAILABLE);
	(void)close(fds[0]);
}

int main(void)
{
#define TEST(fn)           cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define TEST_STRANGERS(fn) cmocka_unit_test_setup_teardown(fn, setup_for_strangers, teardown)
	const struct CMUnitTest tests[] = {
		TEST(carries_messages_and_status),
		TEST(carries_messages_larger_than_any_window),
		TEST(refuses_a_message_over_the_servers_limit),
		TEST(refuses_a_message_over_the_clients_limit),
		TEST(answers_an_unknown_method),
		TEST(passes_on_a_refusal),
		TEST(ends_a_call_at_its_deadline),
		TEST(a_cancelled_call_is_silent_here_and_ends_there),
		TEST(a_call_cancelled_before_it_left_leaves_no_trace),
		TEST(may_be_cancelled_in_its_own_message),
		TEST(the_client_may_be_freed_in_a_message),
		TEST(the_client_may_be_freed_in_an_end),
		TEST(calls_end_when_the_server_goes),
		TEST(survives_garbage),
		TEST(keeps_to_the_limit_of_connections),
		TEST(a_server_that_never_greets_is_given_up),
		TEST_STRANGERS(the_oldest_without_a_call_makes_room_where_strangers_reach_it),
		TEST_STRANGERS(a_call_that_is_not_let_in_holds_no_place),
		TEST_STRANGERS(who_is_never_let_in_does_not_stay),
		TEST_STRANGERS(who_was_let_in_once_may_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

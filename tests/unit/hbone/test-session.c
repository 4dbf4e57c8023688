/* SPDX-License-Identifier: Apache-2.0 */
/* session - client and server over memory: bytes, half-closes, resets, windows. */
#include "hbone/session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#define STREAMS 4

/* One end of a stream: sends `to_send` bytes of a pattern, checks and counts what comes. */
struct end {
	struct hbone_stream st;
	struct side *side;
	size_t to_send, sent, received;
	bool is_eof_after; /* END_STREAM when all is sent */
	bool is_holding;   /* do not consume */
	bool is_eof, is_closed;
	bool reset_on_data;
	int read_error;
	int status;
	uint32_t code;
	uint8_t seed;
};

struct side {
	struct hbone_session *s;
	struct end ends[STREAMS];
	int n_ends; /* server: bound so far */
	int answer; /* status for the next CONNECT */
	int bind_error;
	bool is_goaway;
	char authority[HBONE_AUTHORITY_MAX];
	int outputs, later;
};

static struct end *end_of(struct hbone_stream *st)
{
	return container_of(st, struct end, st);
}

static uint8_t pattern(const struct end *e, size_t at)
{
	return (uint8_t)((at * 31 + at / 251) ^ e->seed);
}

static void on_response(struct hbone_stream *st, const struct hbone_head *head)
{
	end_of(st)->status = head->status;
}

static ssize_t on_read(struct hbone_stream *st, uint8_t *p, size_t n)
{
	struct end *e = end_of(st);

	if (e->read_error)
		return e->read_error;
	if (e->sent == e->to_send)
		return e->is_eof_after ? 0 : -EAGAIN;
	n = MIN(n, e->to_send - e->sent);
	for (size_t i = 0; i < n; i++)
		p[i] = pattern(e, e->sent + i);
	e->sent += n;
	return (ssize_t)n;
}

static void on_data(struct hbone_stream *st, const struct iovec *iov, int n_iov, size_t len)
{
	struct end *e = end_of(st);
	size_t sum = 0;

	for (int i = 0; i < n_iov; i++) {
		const uint8_t *p = iov[i].iov_base;

		for (size_t k = 0; k < iov[i].iov_len; k++)
			assert_int_equal(p[k], pattern(e, e->received + k));
		e->received += iov[i].iov_len;
		sum += iov[i].iov_len;
	}
	assert_int_equal(sum, len);
	if (e->reset_on_data)
		hbone_stream_reset(st, HBONE_CONNECT_ERROR);
	else if (!e->is_holding)
		hbone_stream_consume(st, len);
}

static void on_eof(struct hbone_stream *st)
{
	assert_false(end_of(st)->is_eof);
	end_of(st)->is_eof = true;
}

static void on_close(struct hbone_stream *st, uint32_t code)
{
	assert_false(end_of(st)->is_closed);
	end_of(st)->is_closed = true;
	end_of(st)->code = code;
}

static const struct hbone_stream_ops stream_ops = {on_response, on_read, on_data, on_eof, on_close};

static int on_connect(void *arg, int32_t id, const struct hbone_head *head)
{
	struct side *sd = arg;
	struct end *e;

	memcpy(sd->authority, head->authority, sizeof(sd->authority));
	if (sd->bind_error)
		return sd->bind_error;
	if (sd->answer != 200 && sd->answer != 0)
		return hbone_session_reject(sd->s, id, sd->answer);
	e = &sd->ends[sd->n_ends++ % STREAMS];
	e->is_closed = false;
	assert_int_equal(hbone_stream_bind(sd->s, &e->st, &stream_ops, id), 0);
	return sd->answer == 200 ? hbone_stream_respond(&e->st, 200, "k=v") : 0;
}

static void on_output(void *arg)
{
	((struct side *)arg)->outputs++;
}

static void on_goaway(void *arg)
{
	((struct side *)arg)->is_goaway = true;
}

static void on_output_later(void *arg)
{
	((struct side *)arg)->later++;
}

static const struct hbone_session_ops session_ops = {on_connect, on_output, on_goaway,
						     on_output_later};

struct pair {
	struct side client, server;
};

/* move() - everything that @from has for @to, in pieces of @piece bytes. Return: bytes moved. */
static size_t move(struct side *from, struct side *to, size_t piece)
{
	static uint8_t buf[HBONE_FRAME_MAX];
	size_t total = 0;

	for (;;) {
		size_t n;

		assert_int_equal(hbone_session_send(from->s, buf, sizeof(buf), &n), 0);
		if (n == 0)
			return total;
		total += n;
		for (size_t i = 0; i < n; i += piece)
			assert_int_equal(hbone_session_recv(to->s, buf + i, MIN(piece, n - i)), 0);
	}
}

static void pump(struct pair *p, size_t piece)
{
	while (move(&p->client, &p->server, piece) + move(&p->server, &p->client, piece) > 0)
		continue;
}

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	assert_int_equal(hbone_session_new(false, &session_ops, &p->client, &p->client.s), 0);
	assert_int_equal(hbone_session_new(true, &session_ops, &p->server, &p->server.s), 0);
	p->server.answer = 200;
	pump(p, 1000);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	hbone_session_free(p->client.s);
	hbone_session_free(p->server.s);
	free(p);
	return 0;
}

static struct end *open_stream(struct pair *p, int i)
{
	const struct hbone_connect c = {.authority = "10.0.0.1:80",
					.forwarded = "for=\"1.1.1.1:1\""};

	assert_int_equal(hbone_stream_open(p->client.s, &p->client.ends[i].st, &stream_ops, &c), 0);
	return &p->client.ends[i];
}

static void carries_bytes_both_ways(void **state)
{
	static const size_t pieces[] = {1, 7, 16384, HBONE_FRAME_MAX};
	struct pair *p = *state;

	for (int i = 0; i < (int)ARRAY_SIZE(pieces); i++) {
		struct end *c = &p->client.ends[i], *s = &p->server.ends[i];
		size_t n = pieces[i] < 100 ? 100000 : 5000000;

		c->to_send = n;
		s->to_send = n + 17;
		c->is_eof_after = true;
		s->is_eof_after = true;
		c->seed = s->seed = (uint8_t)i;
		open_stream(p, i);
		pump(p, pieces[i]);
		assert_int_equal(c->status, 200);
		assert_int_equal(s->received, n);
		assert_int_equal(c->received, n + 17);
		assert_true(c->is_eof && s->is_eof && c->is_closed && s->is_closed);
		assert_int_equal(c->code, 0);
		assert_int_equal(s->code, 0);
	}
	assert_string_equal(p->server.authority, "10.0.0.1:80");
}

static void sends_data_right_behind_connect(void **state)
{
	struct pair *p = *state;

	p->server.answer = 0;
	p->client.ends[0].to_send = 1000;
	open_stream(p, 0);
	(void)move(&p->client, &p->server, 100000);
	assert_int_equal(p->server.ends[0].received, 1000);
	assert_int_equal(p->client.ends[0].status, 0);
	p->server.ends[0].to_send = 10;
	assert_int_equal(hbone_stream_respond(&p->server.ends[0].st, 200, NULL), 0);
	pump(p, 1000);
	assert_int_equal(p->client.ends[0].status, 200);
	assert_int_equal(p->client.ends[0].received, 10);
}

/* hand_over() - what the client has, in one read of the server's. */
static void hand_over(struct pair *p)
{
	(void)move(&p->client, &p->server, HBONE_FRAME_MAX);
}

static void an_answer_that_nobody_waits_for_goes_along_with_the_first_bytes(void **state)
{
	struct pair *p = *state;
	struct end *s = &p->server.ends[0];

	p->client.ends[0].to_send = 10;
	open_stream(p, 0);
	p->server.outputs = 0;
	hand_over(p);
	assert_int_equal(s->received, 10);
	assert_int_equal(p->server.outputs, 0);
	assert_int_equal(p->server.later, 1);
	s->to_send = 5;
	hbone_stream_resume(&s->st);
	assert_int_equal(p->server.outputs, 1);
	pump(p, 1000);
	assert_int_equal(p->client.ends[0].status, 200);
	assert_int_equal(p->client.ends[0].received, 5);
}

static void a_client_that_waits_for_its_answer_gets_it_at_once(void **state)
{
	struct pair *p = *state;

	open_stream(p, 0);
	p->server.outputs = 0;
	hand_over(p);
	assert_true(p->server.outputs > 0);
	assert_int_equal(p->server.later, 0);
	pump(p, 1000);
	assert_int_equal(p->client.ends[0].status, 200);
}

static void one_client_that_waits_is_enough(void **state)
{
	struct pair *p = *state;

	p->client.ends[0].to_send = 10;
	open_stream(p, 0);
	open_stream(p, 1);
	p->server.outputs = 0;
	hand_over(p);
	assert_true(p->server.outputs > 0);
}

static void what_else_is_due_does_not_wait_with_an_answer(void **state)
{
	struct pair *p = *state;

	p->client.ends[0].to_send = 10;
	open_stream(p, 0);
	hand_over(p);
	assert_int_equal(p->server.later, 1);
	p->server.outputs = 0;
	assert_int_equal(hbone_session_ping(p->client.s), 0);
	hand_over(p);
	assert_true(p->server.outputs > 0);
}

static void a_window_that_opens_does_not_wait_with_an_answer(void **state)
{
	struct pair *p = *state;
	struct end *c = open_stream(p, 0), *s = &p->server.ends[0];

	c->is_holding = true;
	pump(p, 1000);
	s->to_send = HBONE_STREAM_WINDOW + 100;
	hbone_stream_resume(&s->st);
	pump(p, 16384);
	assert_int_equal(c->received, HBONE_STREAM_WINDOW);
	p->client.ends[1].to_send = 10;
	open_stream(p, 1);
	hand_over(p);
	assert_int_equal(p->server.later, 1);
	p->server.outputs = 0;
	hbone_stream_consume(&c->st, HBONE_STREAM_WINDOW);
	hand_over(p);
	assert_true(p->server.outputs > 0);
	pump(p, 16384);
	assert_int_equal(c->received, HBONE_STREAM_WINDOW + 100);
}

static void half_close_leaves_the_other_way_open(void **state)
{
	struct pair *p = *state;
	struct end *c = open_stream(p, 0), *s = &p->server.ends[0];

	c->to_send = 5;
	c->is_eof_after = true;
	pump(p, 1000);
	assert_true(s->is_eof);
	assert_false(s->is_closed || c->is_closed || c->is_eof);
	s->to_send = 100000;
	hbone_stream_resume(&s->st);
	pump(p, 1000);
	assert_int_equal(c->received, 100000);
	s->is_eof_after = true;
	hbone_stream_resume(&s->st);
	pump(p, 1000);
	assert_true(c->is_eof && c->is_closed && s->is_closed);
	assert_int_equal(hbone_session_stream_count(p->client.s), 0);
	assert_int_equal(hbone_session_stream_count(p->server.s), 0);
}

static void slow_reader_costs_one_window(void **state)
{
	struct pair *p = *state;
	struct end *c = open_stream(p, 0), *s = &p->server.ends[0];
	struct end *c2 = open_stream(p, 1), *s2 = &p->server.ends[1];

	s->is_holding = true;
	c->to_send = 10 * HBONE_STREAM_WINDOW;
	c2->to_send = 10 * HBONE_STREAM_WINDOW;
	pump(p, 10000);
	assert_int_equal(s->received, HBONE_STREAM_WINDOW);
	assert_int_equal(s2->received, c2->to_send);
	s->is_holding = false;
	hbone_stream_consume(&s->st, HBONE_STREAM_WINDOW);
	pump(p, 10000);
	assert_int_equal(s->received, c->to_send);
}

static void held_bytes_of_a_dead_stream_free_the_connection(void **state)
{
	struct pair *p = *state;

	/* Many times more than the connection's window in all. */
	for (int i = 0; i < 2 * HBONE_CONNECTION_WINDOW / HBONE_STREAM_WINDOW; i++) {
		struct end *s = &p->server.ends[0];

		p->server.n_ends = 0;
		memset(&p->client.ends[0], 0, sizeof(p->client.ends[0]));
		memset(s, 0, sizeof(*s));
		p->client.ends[0].to_send = HBONE_STREAM_WINDOW;
		s->is_holding = true;
		open_stream(p, 0);
		pump(p, 100000);
		assert_int_equal(s->received, HBONE_STREAM_WINDOW);
		hbone_stream_reset(&s->st, HBONE_CONNECT_ERROR);
		pump(p, 100000);
		assert_true(p->client.ends[0].is_closed);
	}
}

static void reset_reaches_the_other_end(void **state)
{
	struct pair *p = *state;
	struct end *c = open_stream(p, 0), *s = &p->server.ends[0];

	pump(p, 1000);
	c->read_error = -ECONNRESET;
	hbone_stream_resume(&c->st);
	pump(p, 1000);
	assert_true(c->is_closed && s->is_closed);
	assert_int_equal(s->code, HBONE_CONNECT_ERROR);
	assert_false(s->is_eof);
}

static void reset_within_on_data_is_safe(void **state)
{
	struct pair *p = *state;
	struct end *c = open_stream(p, 0), *s = &p->server.ends[0];

	s->reset_on_data = true;
	c->to_send = 1000000;
	pump(p, 100000);
	assert_true(c->is_closed);
	assert_int_equal(c->code, HBONE_CONNECT_ERROR);
	assert_false(s->is_closed);
	assert_int_equal(hbone_session_stream_count(p->server.s), 0);
}

static void reset_before_the_head_was_sent(void **state)
{
	struct pair *p = *state;
	struct end *c = open_stream(p, 0);

	hbone_stream_reset(&c->st, HBONE_CANCEL);
	pump(p, 1000);
	assert_false(c->is_closed);
	assert_int_equal(hbone_session_stream_count(p->client.s), 0);
	open_stream(p, 1);
	pump(p, 1000);
	assert_int_equal(p->client.ends[1].status, 200);
}

static void error_status_ends_the_stream(void **state)
{
	static const int statuses[] = {400, 401, 503};
	struct pair *p = *state;

	for (int i = 0; i < (int)ARRAY_SIZE(statuses); i++) {
		struct end *c = &p->client.ends[i];

		p->server.answer = statuses[i];
		c->to_send = 3 * HBONE_STREAM_WINDOW;
		open_stream(p, i);
		pump(p, 1000);
		assert_int_equal(c->status, statuses[i]);
		assert_true(c->is_eof && c->is_closed);
	}
	assert_int_equal(hbone_session_stream_count(p->client.s), 0);
}

static void late_error_status_forgets_the_stream(void **state)
{
	struct pair *p = *state;
	struct end *c = open_stream(p, 0), *s = &p->server.ends[0];

	p->server.answer = 0;
	c->to_send = 1000;
	pump(p, 1000);
	s->is_holding = true;
	assert_int_equal(hbone_stream_respond(&s->st, 503, NULL), 0);
	pump(p, 1000);
	assert_int_equal(c->status, 503);
	assert_true(c->is_closed);
	assert_false(s->is_closed);
	assert_int_equal(hbone_session_stream_count(p->server.s), 0);
}

static void refused_stream_is_told_apart(void **state)
{
	struct pair *p = *state;
	struct end *c = open_stream(p, 0);

	p->server.bind_error = -ENOSPC;
	pump(p, 1000);
	assert_true(c->is_closed);
	assert_int_equal(c->code, HBONE_REFUSED_STREAM);
}

static void limits_streams_per_tunnel(void **state)
{
	static struct end many[HBONE_SERVER_STREAMS_MAX];
	const struct hbone_connect c = {.authority = "10.0.0.1:80"};
	struct pair *p = *state;
	struct hbone_stream extra = {0};

	p->server.bind_error = -ENOSPC;
	memset(many, 0, sizeof(many));
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		assert_int_equal(hbone_stream_open(p->client.s, &many[i].st, &stream_ops, &c), 0);
	assert_false(hbone_session_is_usable(p->client.s));
	assert_int_equal(hbone_stream_open(p->client.s, &extra, &stream_ops, &c), -EBUSY);
	pump(p, 1000);
	assert_true(hbone_session_is_usable(p->client.s));
}

static void goaway_keeps_streams_and_refuses_new(void **state)
{
	struct pair *p = *state;
	struct end *c = open_stream(p, 0), *s = &p->server.ends[0];
	struct hbone_stream extra = {0};
	const struct hbone_connect connect = {.authority = "10.0.0.1:80"};

	pump(p, 1000);
	assert_int_equal(hbone_session_shutdown_notice(p->server.s), 0);
	pump(p, 1000);
	assert_true(p->client.is_goaway);
	assert_int_equal(hbone_stream_open(p->client.s, &extra, &stream_ops, &connect), -EBUSY);
	assert_int_equal(hbone_session_goaway(p->server.s, HBONE_NO_ERROR), 0);
	c->to_send = 100;
	c->is_eof_after = true;
	hbone_stream_resume(&c->st);
	pump(p, 1000);
	assert_int_equal(s->received, 100);
	assert_false(hbone_session_is_done(p->server.s));
	s->is_eof_after = true;
	hbone_stream_resume(&s->st);
	pump(p, 1000);
	assert_true(hbone_session_is_done(p->server.s));
}

/* RFC 9113, section 6.8: streams above the last one of a GOAWAY "were not or might not be
 * processed", those that were not may be opened again. They must be told apart. */
static void goaway_that_crosses_a_connect_refuses_it(void **state)
{
	static uint8_t lost[HBONE_FRAME_MAX];
	struct pair *p = *state;
	struct end *sent = open_stream(p, 0), *waiting;
	size_t n;

	assert_int_equal(hbone_session_send(p->client.s, lost, sizeof(lost), &n), 0);
	waiting = open_stream(p, 1);
	assert_int_equal(hbone_session_goaway(p->server.s, HBONE_NO_ERROR), 0);
	(void)move(&p->server, &p->client, 1000);
	assert_int_equal(hbone_session_send(p->client.s, lost, sizeof(lost), &n), 0);
	assert_true(sent->is_closed && waiting->is_closed);
	assert_int_equal(sent->code, HBONE_REFUSED_STREAM);
	assert_int_equal(waiting->code, HBONE_REFUSED_STREAM);
}

static void ping_is_answered(void **state)
{
	struct pair *p = *state;

	assert_int_equal(hbone_session_ping(p->client.s), 0);
	assert_int_equal(hbone_session_ping(p->client.s), -EBUSY);
	assert_true(hbone_session_is_ping_pending(p->client.s));
	pump(p, 1000);
	assert_false(hbone_session_is_ping_pending(p->client.s));
}

static void free_closes_streams(void **state)
{
	struct pair *p = *state;
	struct end *c = open_stream(p, 0);

	pump(p, 1000);
	p->client.s = hbone_session_free(p->client.s);
	assert_true(c->is_closed);
	assert_int_equal(c->code, HBONE_INTERNAL_ERROR);
	assert_int_equal(hbone_session_new(false, &session_ops, &p->client, &p->client.s), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(carries_bytes_both_ways),
		T(sends_data_right_behind_connect),
		T(an_answer_that_nobody_waits_for_goes_along_with_the_first_bytes),
		T(a_client_that_waits_for_its_answer_gets_it_at_once),
		T(one_client_that_waits_is_enough),
		T(what_else_is_due_does_not_wait_with_an_answer),
		T(a_window_that_opens_does_not_wait_with_an_answer),
		T(half_close_leaves_the_other_way_open),
		T(slow_reader_costs_one_window),
		T(held_bytes_of_a_dead_stream_free_the_connection),
		T(reset_reaches_the_other_end),
		T(reset_within_on_data_is_safe),
		T(reset_before_the_head_was_sent),
		T(error_status_ends_the_stream),
		T(late_error_status_forgets_the_stream),
		T(refused_stream_is_told_apart),
		T(limits_streams_per_tunnel),
		T(goaway_keeps_streams_and_refuses_new),
		T(goaway_that_crosses_a_connect_refuses_it),
		T(ping_is_answered),
		T(free_closes_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

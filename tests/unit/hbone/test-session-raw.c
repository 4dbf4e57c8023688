/* SPDX-License-Identifier: Apache-2.0 */
/* session - what each side makes of bytes that our own other side would not send. */
#include "tests/unit/hbone/session_raw.h"

static void hostile_bytes_end_the_connection(void **state)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	static const uint8_t no_settings[] = {0, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t huge_frame[] = {0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0};
	uint8_t buf[64];

	assert_true(raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27) < 0);
	assert_true(raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03zzzzzzzzzzzzzzz", 26) < 0);
	memcpy(buf, preface, 24);
	memcpy(buf + 24, no_settings, 9);
	assert_true(raw(buf, 33) < 0);
	memcpy(buf + 24, huge_frame, 9);
	assert_true(raw(buf, 33) < 0);
}

/* Its body is still open: an answer, the words with END_STREAM, and RST_STREAM(NO_ERROR). */
static void a_request_that_is_no_connect_is_told_so(void **state)
{
	static uint8_t in[OPENING_LEN + 64], out[HBONE_FRAME_MAX];
	static const uint8_t reset[] = {0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0};
	struct side sd = {.answer = 200};
	const uint8_t *words;
	size_t n, len;

	memcpy(in, OPENING, OPENING_LEN);
	n = OPENING_LEN + put_frame(in + OPENING_LEN, 1, 1, GET_BLOCK, GET_LEN);
	assert_int_equal(hbone_session_new(true, &session_ops, &sd, &sd.s), 0);
	assert_int_equal(hbone_session_recv(sd.s, in, n), 0);
	assert_int_equal(hbone_session_send(sd.s, out, sizeof(out), &len), 0);
	words = memmem(out, len, "This is HBONE", 13);
	assert_non_null(words);
	assert_int_equal(words[-9 + 4], 1); /* flags: END_STREAM */
	assert_memory_equal(out + len - sizeof(reset), reset, sizeof(reset));
	assert_int_equal(sd.n_streams, 0);
	hbone_session_free(sd.s);
}

/* put_given_up() - streams that are opened and reset at once, from the given one on. */
static size_t put_given_up(uint8_t *at, uint32_t first, uint32_t count)
{
	size_t n = 0;

	for (uint32_t i = first; i < first + count; i++) {
		n += put_frame(at + n, 1, 1 + 2 * i, CONNECT_BLOCK, CONNECT_LEN);
		n += put_frame(at + n, 3, 1 + 2 * i, "\0\0\0\10", 4);
	}
	return n;
}

/* Return: as raw(): so many streams are opened, and reset at once. */
static int open_and_reset(uint32_t count)
{
	static uint8_t buf[1 << 16];

	memcpy(buf, OPENING, OPENING_LEN);
	return raw_answered(buf, OPENING_LEN + put_given_up(buf + OPENING_LEN, 0, count), 0);
}

static struct {
	struct hbone_stream streams[HBONE_SERVER_STREAMS_MAX];
	size_t len; /* of what they were handed */
} asleep;

static void on_data_asleep(struct hbone_stream *st, const struct iovec *iov, int n_iov, size_t len)
{
	asleep.len += len;
}

static const struct hbone_stream_ops asleep_ops = {on_response, on_read, on_data_asleep, on_eof,
						   on_close};

static int on_connect_asleep(void *arg, int32_t id, const struct hbone_head *head)
{
	struct side *sd = arg;
	struct hbone_stream *st = &asleep.streams[sd->n_streams++];

	assert_int_equal(hbone_stream_bind(sd->s, st, &asleep_ops, id), 0);
	return hbone_stream_respond(st, 200, NULL);
}

/* Each has its whole window, so that however many sleep the next one is heard. */
static void readers_that_sleep_leave_the_others_their_windows(void **state)
{
	static const struct hbone_session_ops ops = {on_connect_asleep, on_output, NULL};
	static const uint8_t ack[] = {0, 0, 0, 4, 1, 0, 0, 0, 0};
	static uint8_t in[9 + HBONE_FRAME_MAX], out[HBONE_FRAME_MAX], zeros[HBONE_FRAME_MAX];
	struct side sd = {0};
	size_t n, len;

	memcpy(in, OPENING, OPENING_LEN);
	assert_int_equal(hbone_session_new(true, &ops, &sd, &sd.s), 0);
	assert_int_equal(hbone_session_recv(sd.s, in, OPENING_LEN), 0);
	assert_int_equal(hbone_session_send(sd.s, out, sizeof(out), &len), 0);
	memcpy(in, ack, sizeof(ack));
	assert_int_equal(hbone_session_recv(sd.s, in, sizeof(ack)), 0);
	for (uint32_t id = 1; id <= 2 * HBONE_SERVER_STREAMS_MAX; id += 2) {
		n = put_frame(in, 1, id, CONNECT_BLOCK, CONNECT_LEN);
		assert_int_equal(hbone_session_recv(sd.s, in, n), 0);
		for (size_t i = 0; i < HBONE_STREAM_WINDOW / HBONE_FRAME_MAX; i++) {
			n = put_frame(in, 0, id, zeros, sizeof(zeros));
			assert_int_equal(hbone_session_recv(sd.s, in, n), 0);
		}
	}
	assert_int_equal(hbone_session_fault(sd.s), 0);
	assert_int_equal(asleep.len, (size_t)HBONE_SERVER_STREAMS_MAX * HBONE_STREAM_WINDOW);
	hbone_session_free(sd.s);
}

static void streams_reset_before_their_answer_end_the_connection_when_too_many(void **state)
{
	assert_int_equal(open_and_reset(400), 0);
	assert_true(open_and_reset(1000) < 0);
}

/* Clients that lose their patience with an application that hangs. */
static void streams_given_up_between_pings_are_no_flood(void **state)
{
	static const uint8_t pong[] = {0, 0, 8, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	static uint8_t in[1 << 16], out[HBONE_FRAME_MAX];
	struct side sd = {.answer = 0};
	size_t n = OPENING_LEN, len;

	memcpy(in, OPENING, OPENING_LEN);
	assert_int_equal(hbone_session_new(true, &session_ops, &sd, &sd.s), 0);
	for (uint32_t i = 0; i < 3; i++) {
		n += put_given_up(in + n, 400 * i, 400);
		assert_int_equal(hbone_session_recv(sd.s, in, n), 0);
		assert_int_equal(hbone_session_ping(sd.s), 0);
		assert_int_equal(hbone_session_send(sd.s, out, sizeof(out), &len), 0);
		memcpy(in, pong, sizeof(pong));
		n = sizeof(pong);
	}
	assert_int_equal(hbone_session_recv(sd.s, in, put_given_up(in, 1200, 600)), -EDQUOT);
	hbone_session_free(sd.s);
}

/* Return: as raw(): so many streams are opened and answered, and each then gets a window past the
 * end, for which we have to reset it. */
static int open_and_have_reset(uint32_t count)
{
	static uint8_t buf[1 << 16];
	size_t n = OPENING_LEN;

	memcpy(buf, OPENING, OPENING_LEN);
	for (uint32_t i = 0; i < count; i++) {
		n += put_frame(buf + n, 1, 1 + 2 * i, CONNECT_BLOCK, CONNECT_LEN);
		n += put_frame(buf + n, 8, 1 + 2 * i, "\x7f\xff\xff\xff", 4);
	}
	return raw(buf, n);
}

static void streams_that_we_have_to_reset_end_the_connection_when_too_many(void **state)
{
	assert_int_equal(open_and_have_reset(100), 0);
	assert_int_equal(open_and_have_reset(300), -EDQUOT);
}

static void an_error_that_the_stack_answers_itself_is_told(void **state)
{
	static uint8_t buf[OPENING_LEN + 64];
	size_t n = OPENING_LEN;

	memcpy(buf, OPENING, OPENING_LEN);
	n += put_frame(buf + n, 1, 1, CONNECT_BLOCK, CONNECT_LEN);
	assert_int_equal(raw(buf, n), 0);
	n += put_frame(buf + n, 8, 1, "\0\0\0\0", 4);
	assert_int_equal(raw(buf, n), -EPROTO);
}

/* Return: as raw(): so many frames of HEADERS with @block, each on a stream of its own. */
static int open_streams(uint32_t count, const void *block, size_t n_block, int answer)
{
	static uint8_t buf[1 << 16];
	size_t n = OPENING_LEN;

	memcpy(buf, OPENING, OPENING_LEN);
	for (uint32_t i = 0; i < count; i++)
		n += put_frame(buf + n, 1, 1 + 2 * i, block, n_block);
	return raw_answered(buf, n, answer);
}

static void requests_and_streams_that_lead_nowhere_end_the_connection_when_too_many(void **state)
{
	assert_int_equal(open_streams(100, GET_BLOCK, GET_LEN, 200), 0);
	assert_int_equal(open_streams(600, GET_BLOCK, GET_LEN, 200), -EDQUOT);
	assert_int_equal(open_streams(HBONE_SERVER_STREAMS_MAX, CONNECT_BLOCK, CONNECT_LEN, 0), 0);
	assert_int_equal(
		open_streams(HBONE_SERVER_STREAMS_MAX + 600, CONNECT_BLOCK, CONNECT_LEN, 0),
		-EDQUOT);
}

/* A frame again and again, perhaps with DATA before each. */
struct repeated {
	unsigned int times;
	uint8_t type, len, flags;
	bool has_worth;
};

static size_t put_repeated(uint8_t *at, const struct repeated *x)
{
	/* of WINDOW_UPDATE and PRIORITY; of all others nothing */
	static const uint8_t three[8] = {0, 0, 0, 3, 1}, nothing[8];
	const uint8_t *payload = x->type == 8 || x->type == 2 ? three : nothing;
	size_t n = 0;

	for (unsigned int i = 0; i < x->times; i++) {
		if (x->has_worth)
			n += put_frame(at + n, 0, 1, "x", 1);
		at[n + 4] = 0;
		put_frame(at + n, x->type, x->type <= 3, payload, x->len);
		at[n + 4] |= x->flags;
		n += 9U + x->len;
	}
	return n;
}

/* The peer reads what it is answered. Return: of hbone_session_recv(). */
static int repeat(struct side *sd, const struct repeated *x)
{
	static uint8_t in[256 * 64], out[HBONE_FRAME_MAX];
	struct repeated some = *x;
	unsigned int left = x->times;
	size_t len;
	int r = 0;

	while (left > 0 && r == 0) {
		some.times = MIN(left, 256U);
		left -= some.times;
		r = hbone_session_recv(sd->s, in, put_repeated(in, &some));
		if (r == 0)
			assert_int_equal(hbone_session_send(sd->s, out, sizeof(out), &len), 0);
	}
	return r;
}

static void open_one(struct side *sd)
{
	static uint8_t in[OPENING_LEN + 64], out[HBONE_FRAME_MAX];
	size_t len;

	*sd = (struct side){.answer = 200};
	speech.times = 0;
	assert_int_equal(hbone_session_new(true, &session_ops, sd, &sd->s), 0);
	memcpy(in, OPENING, OPENING_LEN);
	assert_int_equal(hbone_session_recv(sd->s, in,
					    OPENING_LEN + put_frame(in + OPENING_LEN, 1, 1,
								    CONNECT_BLOCK, CONNECT_LEN)),
			 0);
	assert_int_equal(hbone_session_send(sd->s, out, sizeof(out), &len), 0);
}

/* open_client() - it has opened a stream, which is answered. */
static void open_client(struct side *sd)
{
	static const struct hbone_connect request = {.authority = "a:1"};
	static uint8_t in[64], out[HBONE_FRAME_MAX];
	size_t n = put_frame(in, 4, 0, "", 0), len;

	*sd = (struct side){0};
	speech.times = 0;
	assert_int_equal(hbone_session_new(false, &session_ops, sd, &sd->s), 0);
	assert_int_equal(hbone_stream_open(sd->s, &sd->streams[0], &stream_ops, &request), 0);
	assert_int_equal(hbone_session_send(sd->s, out, sizeof(out), &len), 0);
	n += put_frame(in + n, 1, 1, "\x88", 1);
	assert_int_equal(hbone_session_recv(sd->s, in, n), 0);
	assert_int_equal(hbone_session_send(sd->s, out, sizeof(out), &len), 0);
}

static void flood(void (*open)(struct side *sd), struct repeated x)
{
	struct side sd;

	open(&sd);
	x.times = 1900;
	assert_int_equal(repeat(&sd, &x), 0);
	x.times = 200;
	assert_int_equal(repeat(&sd, &x), -EDQUOT);
	hbone_session_free(sd.s);
}

/* By a server that has not acknowledged our SETTINGS, which forbid it. */
static void a_promise_is_not_unpacked(void **state)
{
	static uint8_t in[64];
	struct side sd;
	size_t n;

	open_client(&sd);
	n = put_frame(in, 5, 1, "\0\0\0\2" GET_BLOCK, 4 + GET_LEN);
	in[4] = 4; /* END_HEADERS */
	assert_int_equal(hbone_session_recv(sd.s, in, n), -EPROTO);
	hbone_session_free(sd.s);
}

static void frames_that_bring_nothing_end_the_connection_when_too_many(void **state)
{
	/* PING, SETTINGS, PRIORITY, DATA without bytes, DATA of padding alone, GOAWAY,
	 * WINDOW_UPDATE when nothing was sent */
	static const struct repeated floods[] = {
		{.type = 6, .len = 8},
		{.type = 4},
		{.type = 2, .len = 5},
		{.type = 0},
		{.type = 0, .len = 1, .flags = 8},
		{.type = 7, .len = 8},
		{.type = 8, .len = 4},
	};

	for (size_t i = 0; i < ARRAY_SIZE(floods); i++) {
		flood(open_one, floods[i]);
		/* a GOAWAY that names no stream is a client's end at once */
		if (floods[i].type != 7)
			flood(open_client, floods[i]);
	}
	/* a server's RST_STREAM, of a stream that is no more */
	flood(open_client, (struct repeated){.type = 3, .len = 4});
}

static void a_client_bears_what_each_of_its_streams_brings(void **state)
{
	static const struct hbone_connect request = {.authority = "a:1"};
	static uint8_t in[64], out[HBONE_FRAME_MAX];
	struct side sd;
	size_t len;

	open_client(&sd);
	for (uint32_t id = 3; id < 20000; id += 2) {
		struct hbone_stream *st = &sd.streams[1];
		size_t n = 0;

		assert_int_equal(hbone_stream_open(sd.s, st, &stream_ops, &request), 0);
		assert_int_equal(hbone_session_send(sd.s, out, sizeof(out), &len), 0);
		n += put_frame(in + n, 1, id, "\x88", 1);
		n += put_frame(in + n, 3, id, "\0\0\0\0", 4);
		assert_int_equal(hbone_session_recv(sd.s, in, n), 0);
		assert_null(st->session);
	}
	hbone_session_free(sd.s);
}

/* An application that writes single bytes, or a flood of them. */
static void bytes_of_many_small_frames_are_handed_over_in_one_piece(void **state)
{
	static uint8_t in[1 << 14];
	struct side sd;
	size_t n = 0;

	open_one(&sd);
	memset(&handed, 0, sizeof(handed));
	for (unsigned int i = 0; i < 500; i++) {
		uint8_t byte = (uint8_t)(i * 7);

		n += put_frame(in + n, 0, 1, &byte, 1);
		if (i % 100 == 0)
			n += put_frame(in + n, 6, 0, "pingping", 8);
	}
	assert_int_equal(hbone_session_recv(sd.s, in, n), 0);
	assert_int_equal(handed.times, 1);
	assert_int_equal(handed.pieces, 1);
	assert_int_equal(handed.len, 500);
	for (unsigned int i = 0; i < 500; i++)
		assert_int_equal(handed.bytes[i], (uint8_t)(i * 7));
	hbone_session_free(sd.s);
}

static void frames_that_bring_nothing_are_borne_beside_data_and_over_time(void **state)
{
	struct repeated ping = {.type = 6, .len = 8, .times = 10000, .has_worth = true};
	struct side sd;

	open_one(&sd);
	assert_int_equal(repeat(&sd, &ping), 0);
	ping.has_worth = false;
	ping.times = 1900;
	assert_int_equal(repeat(&sd, &ping), 0);
	assert_int_equal(hbone_session_ping(sd.s), 0);
	assert_int_equal(repeat(&sd, &ping), 0);
	/* a peer that answers no PING is not waited for */
	assert_int_equal(hbone_session_ping(sd.s), -EBUSY);
	assert_int_equal(repeat(&sd, &ping), -EDQUOT);
	hbone_session_free(sd.s);
}

/* The application says @piece bytes so many @times, a frame each. */
static void say(struct side *sd, unsigned int times, size_t piece)
{
	static uint8_t out[HBONE_FRAME_MAX];
	size_t len = 1;

	speech.times = times;
	speech.piece = piece;
	hbone_stream_resume(&sd->streams[0]);
	while (len > 0)
		assert_int_equal(hbone_session_send(sd->s, out, sizeof(out), &len), 0);
	assert_int_equal(speech.times, 0);
}

static void window_updates_that_follow_from_data_are_borne(void **state)
{
	/* one frame a byte: two for each; large ones: in small pieces */
	static const struct {
		unsigned int times;
		size_t piece;
		unsigned int follow;
	} said[] = {{3000, 1, 6000}, {3, 16384, 768}};

	for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
		struct repeated update = {.type = 8, .len = 4, .times = said[i].follow + 1900};
		struct side sd;

		open_one(&sd);
		say(&sd, said[i].times, said[i].piece);
		assert_int_equal(repeat(&sd, &update), 0);
		update.times = 200;
		assert_int_equal(repeat(&sd, &update), -EDQUOT);
		hbone_session_free(sd.s);
	}
}

static void a_peer_that_reads_no_answers_floods(void **state)
{
	static uint8_t in[64 * 1024];
	const struct repeated pings = {.type = 6, .len = 8, .times = 1500};
	struct side sd;

	open_one(&sd);
	assert_int_equal(hbone_session_recv(sd.s, in, put_repeated(in, &pings)), -EDQUOT);
	hbone_session_free(sd.s);
}

static void random_bytes_never_crash(void **state)
{
	static uint8_t buf[4096];
	uint32_t x = 1;

	for (int round = 0; round < 2000; round++) {
		memcpy(buf, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
		for (size_t i = 33; i < 300; i++) {
			x = x * 1664525 + 1013904223;
			/* Short lengths and low types, so that frames are parsed at all. */
			buf[i] = (uint8_t)(x >> 24) & (i % 3 ? 0x0f : 0xff);
		}
		(void)raw(buf, 300);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_bytes_end_the_connection),
		cmocka_unit_test(a_request_that_is_no_connect_is_told_so),
		cmocka_unit_test(readers_that_sleep_leave_the_others_their_windows),
		cmocka_unit_test(
			streams_reset_before_their_answer_end_the_connection_when_too_many),
		cmocka_unit_test(streams_given_up_between_pings_are_no_flood),
		cmocka_unit_test(streams_that_we_have_to_reset_end_the_connection_when_too_many),
		cmocka_unit_test(an_error_that_the_stack_answers_itself_is_told),
		cmocka_unit_test(
			requests_and_streams_that_lead_nowhere_end_the_connection_when_too_many),
		cmocka_unit_test(a_promise_is_not_unpacked),
		cmocka_unit_test(frames_that_bring_nothing_end_the_connection_when_too_many),
		cmocka_unit_test(a_client_bears_what_each_of_its_streams_brings),
		cmocka_unit_test(bytes_of_many_small_frames_are_handed_over_in_one_piece),
		cmocka_unit_test(frames_that_bring_nothing_are_borne_beside_data_and_over_time),
		cmocka_unit_test(window_updates_that_follow_from_data_are_borne),
		cmocka_unit_test(a_peer_that_reads_no_answers_floods),
		cmocka_unit_test(random_bytes_never_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

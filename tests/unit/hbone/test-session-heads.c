/* SPDX-License-Identifier: Apache-2.0 */
/* session - header blocks: what is unpacked of them, and what becomes of a peer whose blocks lead
 * nowhere. */
#include "tests/unit/hbone/session_raw.h"

#define CALM             11
#define HEADERS          1
#define CONTINUATION     9
#define END_HEADERS      4
#define BLOCK            2000
#define BLOCKS           100 /* of them more than any peer may waste */
#define FIELD            "\0\x01x"
#define FIELD_LEN        3
#define BAD_NAME         "\0\x01X\x01x"
#define BAD_NAME_LEN     5
#define LIST_SETTING     "\0\6\0\0\x20\0"
#define LIST_SETTING_LEN 6

static uint8_t out[HBONE_FRAME_MAX];
static size_t out_len;

static void begin(struct side *sd)
{
	uint8_t in[OPENING_LEN];

	*sd = (struct side){.answer = 200};
	speech.times = 0;
	memcpy(in, OPENING, OPENING_LEN);
	assert_int_equal(hbone_session_new(true, &session_ops, sd, &sd->s), 0);
	assert_int_equal(hbone_session_recv(sd->s, in, OPENING_LEN), 0);
	assert_int_equal(hbone_session_send(sd->s, out, sizeof(out), &out_len), 0);
}

/* send_part() - the first @there bytes of a frame. Return: of hbone_session_recv(), or of _fault()
 * where it is done. What is answered is in out. */
static int send_part(struct side *sd, const uint8_t *frame, size_t there)
{
	static uint8_t in[1 << 16];
	int r;

	memcpy(in, frame, there);
	r = hbone_session_recv(sd->s, in, there);
	assert_true(hbone_session_send(sd->s, out, sizeof(out), &out_len) <= 0);
	if (r == 0 && hbone_session_is_done(sd->s))
		r = hbone_session_fault(sd->s);
	return r;
}

static int send_block(struct side *sd, uint32_t id, const void *block, size_t n)
{
	static uint8_t frame[1 << 16];

	return send_part(sd, frame, put_frame(frame, HEADERS, id, block, n));
}

/* is_told() - GOAWAY with this code is the last that went out. */
static bool is_told(uint32_t code)
{
	return out_len >= 17 && out[out_len - 17 + 3] == 7 && out[out_len - 1] == code;
}

/* put_zeros() - a field whose value is @n bytes, by five, of Huffman code that are 8/5 as many
 * zeros. */
static size_t put_zeros(uint8_t *at, size_t n)
{
	const size_t rest = n - 127;

	memcpy(at, FIELD, FIELD_LEN);
	at[FIELD_LEN] = 0xff;
	at[FIELD_LEN + 1] = (uint8_t)(0x80 | (rest & 0x7f));
	at[FIELD_LEN + 2] = (uint8_t)(rest >> 7);
	memset(at + FIELD_LEN + 3, 0, n);
	return FIELD_LEN + 3 + n;
}

static size_t put_connect(uint8_t *at)
{
	memcpy(at, CONNECT_BLOCK, CONNECT_LEN);
	return CONNECT_LEN;
}

static void what_a_header_list_may_be_is_said(void **state)
{
	struct side sd = {0};

	assert_int_equal(HBONE_HEADER_LIST_MAX, 0x2000);
	for (int is_server = 0; is_server < 2; is_server++) {
		assert_int_equal(hbone_session_new(is_server, &session_ops, &sd, &sd.s), 0);
		assert_int_equal(hbone_session_send(sd.s, out, sizeof(out), &out_len), 0);
		assert_non_null(memmem(out, out_len, LIST_SETTING, LIST_SETTING_LEN));
		hbone_session_free(sd.s);
	}
}

/* No byte of it has to come for that. */
static void a_block_longer_than_a_list_is_not_unpacked(void **state)
{
	static uint8_t frame[1 << 15], block[1 << 14];
	size_t n = put_connect(block);
	struct side sd;

	n += put_zeros(block + n, 8000);
	n += put_zeros(block + n, 8000);
	(void)put_frame(frame, HEADERS, 1, block, n);
	begin(&sd);
	assert_int_equal(send_part(&sd, frame, 9), -EPROTO);
	assert_true(is_told(CALM));
	assert_int_equal(sd.n_streams, 0);
	hbone_session_free(sd.s);
}

/* Return: as send_part(), of a block in so many pieces of so many bytes after the first. */
static int send_pieces(unsigned int pieces, size_t piece)
{
	static uint8_t frame[1 << 15], block[1 << 14];
	size_t n = put_frame(frame, HEADERS, 1, CONNECT_BLOCK, CONNECT_LEN);
	struct side sd;
	int r = 0;

	frame[4] = 0;
	begin(&sd);
	r = send_part(&sd, frame, n);
	for (unsigned int i = 0; i < pieces && r == 0; i++) {
		(void)put_zeros(block, piece - FIELD_LEN - 3);
		n = put_frame(frame, CONTINUATION, 1, block, piece);
		frame[4] = i + 1 == pieces ? END_HEADERS : 0;
		/* of the last one the head is enough where it is one too many */
		r = send_part(&sd, frame, 9);
		if (r == 0)
			r = send_part(&sd, frame + 9, n - 9);
	}
	assert_int_equal(sd.n_streams, r == 0);
	if (r < 0)
		assert_true(is_told(CALM));
	hbone_session_free(sd.s);
	return r;
}

static void pieces_of_a_block_are_added_up(void **state)
{
	assert_int_equal(send_pieces(4, 1001), 0);
	assert_int_equal(send_pieces(7, 1251), -EPROTO);
}

/* A large entry of the table, and many references to it. */
static void a_block_that_unfolds_ends_the_connection(void **state)
{
	static uint8_t block[8192];
	size_t n = put_connect(block);
	struct side sd;

	memcpy(block + n, "\x40\x01x\x7f\xa1\x1e", 6);
	memset(block + n + 6, 'a', 4000);
	n += 4006;
	begin(&sd);
	assert_int_equal(send_block(&sd, 1, block, n), 0);
	assert_int_equal(sd.n_streams, 1);
	n = put_connect(block);
	memset(block + n, 0xbe, 3);
	assert_int_equal(send_block(&sd, 3, block, n + 3), 0);
	/* past what was said: it is told so */
	assert_int_equal(sd.n_streams, 1);
	memset(block + n, 0xbe, 100);
	assert_int_equal(send_block(&sd, 5, block, n + 100), -EPROTO);
	assert_true(is_told(CALM));
	hbone_session_free(sd.s);
}

/* Blocks of which nothing comes, each of a stream of its own, or all of one that is closed. */
struct waste {
	const char *name;
	size_t (*put)(uint8_t *block);
	bool is_closed;
};

/* repeat() - @what behind what the block begins with, until it is full. */
static size_t repeat(uint8_t *block, size_t n, const char *what, size_t len)
{
	for (; n + len <= BLOCK; n += len)
		memcpy(block + n, what, len);
	return n;
}

static size_t put_tiny(uint8_t *block)
{
	return repeat(block, put_connect(block), "\0\x81\x1f\x81\x1f", 5);
}

static size_t put_huffman(uint8_t *block)
{
	memcpy(block, "\x82", 1);
	return 1 + put_zeros(block + 1, BLOCK - 100);
}

static size_t put_malformed(uint8_t *block)
{
	memcpy(block, BAD_NAME, BAD_NAME_LEN);
	return repeat(block, BAD_NAME_LEN, "\x90", 1);
}

static size_t put_malformed_entries(uint8_t *block)
{
	memcpy(block, BAD_NAME, BAD_NAME_LEN);
	return repeat(block, BAD_NAME_LEN, "\x40\x80\x80", 3);
}

static size_t put_sizes(uint8_t *block)
{
	const size_t n = repeat(block, 0, "\x20", 1);

	return n + put_connect(block + n);
}

static size_t put_one_field(uint8_t *block)
{
	block[0] = 0x90;
	return 1;
}

static const struct waste wastes[] = {
	{"fields of a letter", put_tiny},
	{"Huffman code in what is no CONNECT", put_huffman},
	{"references behind a name that cannot be", put_malformed},
	{"entries behind a name that cannot be", put_malformed_entries},
	{"sizes of the table", put_sizes},
	{"Huffman code, stream closed", put_huffman, true},
	{"references, stream closed", put_malformed, true},
	{"one field, stream closed", put_one_field, true},
};

/* waste() - Return: how many blocks were taken until the peer was told. */
static unsigned int waste(const struct waste *w)
{
	static uint8_t block[BLOCK + 100];
	size_t n = w->put(block);
	unsigned int i = 0;
	struct side sd;
	int r;

	begin(&sd);
	/* those below are closed, or never were */
	r = send_block(&sd, 99999, CONNECT_BLOCK, CONNECT_LEN);
	for (; r == 0 && i <= BLOCKS * BLOCK / n; i++)
		r = send_block(&sd, w->is_closed ? 1 : 100001 + 2 * i, block, n);
	if (r != -EDQUOT)
		print_error("%s: %d after %u blocks\n", w->name, r, i);
	assert_int_equal(r, -EDQUOT);
	assert_true(is_told(CALM));
	hbone_session_free(sd.s);
	return i;
}

static void blocks_that_lead_nowhere_end_the_connection_when_too_many(void **state)
{
	uint8_t block[BLOCK + 100];

	for (size_t i = 0; i < ARRAY_SIZE(wastes); i++)
		assert_in_range(waste(&wastes[i]) * wastes[i].put(block), 900, 10 * (BLOCK + 14));
}

/* Return: of the last of @count blocks of @n bytes, a CONNECT each. */
static int send_connects(int answer, uint32_t count, size_t n)
{
	static uint8_t block[1 << 14];
	struct side sd;
	int r = 0;

	(void)put_connect(block);
	memcpy(block + CONNECT_LEN, FIELD "\x7f", FIELD_LEN + 1);
	block[CONNECT_LEN + 4] = (uint8_t)(0x80 | ((n - CONNECT_LEN - 6 - 127) & 0x7f));
	block[CONNECT_LEN + 5] = (uint8_t)((n - CONNECT_LEN - 6 - 127) >> 7);
	memset(block + CONNECT_LEN + 6, 'x', n - CONNECT_LEN - 6);
	begin(&sd);
	sd.answer = answer;
	for (uint32_t i = 0; i < count && r == 0; i++)
		r = send_block(&sd, 1 + 2 * i, block, n);
	if (r == 0)
		assert_int_equal(sd.n_streams, MIN(count, (uint32_t)HBONE_SERVER_STREAMS_MAX));
	hbone_session_free(sd.s);
	return r;
}

static void large_heads_of_requests_that_are_taken_cost_nothing(void **state)
{
	assert_int_equal(send_connects(200, HBONE_SERVER_STREAMS_MAX, 7000), 0);
}

static void requests_that_are_refused_cost_nothing_but_their_calm(void **state)
{
	assert_int_equal(send_connects(401, HBONE_SERVER_STREAMS_MAX, 7000), 0);
}

/* What waits for a limit that is to come. */
static void a_burst_of_requests_past_the_limit_is_borne(void **state)
{
	static uint8_t block[1 << 10];
	struct side sd;

	(void)put_connect(block);
	memcpy(block + CONNECT_LEN, FIELD "\x64", FIELD_LEN + 1);
	memset(block + CONNECT_LEN + 4, 'x', 100);
	begin(&sd);
	for (uint32_t i = 0; i < HBONE_SERVER_STREAMS_MAX + 300; i++)
		assert_int_equal(send_block(&sd, 1 + 2 * i, block, CONNECT_LEN + 104), 0);
	hbone_session_free(sd.s);
}

/* The client's: what comes of an answer that it waits for is no waste. */
static void a_client_bears_one_head_for_each_answer(void **state)
{
	static const struct hbone_connect request = {.authority = "a:1"};
	static uint8_t in[BLOCK + 200];
	uint8_t block[BLOCK];
	size_t n = put_frame(in, 4, 0, "", 0);
	struct side sd = {0};

	assert_int_equal(hbone_session_new(false, &session_ops, &sd, &sd.s), 0);
	block[0] = 0x88;
	memcpy(block + 1, FIELD "\x7f\xe4\x05", FIELD_LEN + 3);
	memset(block + 1 + FIELD_LEN + 3, 'x', 867);
	for (uint32_t id = 1; id < 400; id += 2) {
		struct hbone_stream *st = &sd.streams[0];

		assert_int_equal(hbone_stream_open(sd.s, st, &stream_ops, &request), 0);
		assert_int_equal(hbone_session_send(sd.s, out, sizeof(out), &out_len), 0);
		n += put_frame(in + n, HEADERS, id, block, 874);
		n += put_frame(in + n, 3, id, "\0\0\0\0", 4);
		assert_int_equal(hbone_session_recv(sd.s, in, n), 0);
		n = 0;
	}
	/* of a stream that is no more */
	for (int r = 0, i = 0; r == 0; i++) {
		assert_in_range(i, 0, 30);
		r = hbone_session_recv(sd.s, in, put_frame(in, HEADERS, 1, block, 874));
		assert_true(r == 0 || r == -EDQUOT);
	}
	hbone_session_free(sd.s);
}

/* abandon() - a stream that its application leaves before the answer, of 41 bytes, is here. Return:
 * of hbone_session_recv(). */
static int abandon(struct side *sd, uint32_t id)
{
	static const struct hbone_connect request = {.authority = "a:1"};
	static const uint8_t block[41] = "\x88" FIELD "\x24xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	static uint8_t in[100];
	struct hbone_stream *st = &sd->streams[0];

	assert_int_equal(hbone_stream_open(sd->s, st, &stream_ops, &request), 0);
	assert_int_equal(hbone_session_send(sd->s, out, sizeof(out), &out_len), 0);
	hbone_stream_reset(st, HBONE_CANCEL);
	assert_int_equal(hbone_session_send(sd->s, out, sizeof(out), &out_len), 0);
	return hbone_session_recv(sd->s, in, put_frame(in, HEADERS, id, block, sizeof(block)));
}

/* It can do nothing about it. */
static void a_server_is_not_blamed_for_answers_that_nobody_waits_for_any_more(void **state)
{
	static uint8_t in[100];
	struct side sd = {0};
	unsigned int i = 0;

	assert_int_equal(hbone_session_new(false, &session_ops, &sd, &sd.s), 0);
	assert_int_equal(hbone_session_recv(sd.s, in, put_frame(in, 4, 0, "", 0)), 0);
	for (uint32_t id = 1; id < 2000; id += 2)
		assert_int_equal(abandon(&sd, id), 0);
	/* but for more answers than there were streams */
	while (hbone_session_recv(sd.s, in, put_frame(in, HEADERS, 1, "\x88", 1)) == 0)
		assert_in_range(i++, 0, 1000);
	hbone_session_free(sd.s);
}

static void a_block_is_as_much_work_as_some_frames(void **state)
{
	static uint8_t block[BLOCK];
	uint64_t before;
	struct side sd;

	(void)put_connect(block);
	memcpy(block + CONNECT_LEN, FIELD "\x7f\xe4\x05", FIELD_LEN + 3);
	memset(block + CONNECT_LEN + 6, 'x', 867);
	begin(&sd);
	before = hbone_session_frames(sd.s);
	assert_int_equal(send_block(&sd, 1, CONNECT_BLOCK, CONNECT_LEN), 0);
	assert_int_equal(hbone_session_frames(sd.s) - before, 1);
	assert_int_equal(send_block(&sd, 3, block, CONNECT_LEN + 873), 0);
	assert_in_range(hbone_session_frames(sd.s) - before, 2 + 25, 2 + 30);
	hbone_session_free(sd.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_header_list_may_be_is_said),
		cmocka_unit_test(a_block_longer_than_a_list_is_not_unpacked),
		cmocka_unit_test(pieces_of_a_block_are_added_up),
		cmocka_unit_test(a_block_that_unfolds_ends_the_connection),
		cmocka_unit_test(blocks_that_lead_nowhere_end_the_connection_when_too_many),
		cmocka_unit_test(large_heads_of_requests_that_are_taken_cost_nothing),
		cmocka_unit_test(requests_that_are_refused_cost_nothing_but_their_calm),
		cmocka_unit_test(a_burst_of_requests_past_the_limit_is_borne),
		cmocka_unit_test(a_client_bears_one_head_for_each_answer),
		cmocka_unit_test(a_server_is_not_blamed_for_answers_that_nobody_waits_for_any_more),
		cmocka_unit_test(a_block_is_as_much_work_as_some_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

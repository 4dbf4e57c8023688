/* SPDX-License-Identifier: Apache-2.0 */
/* websocket - frames cut anywhere, fragments, pings; what is none ends it. RFC 6455. */
#include "userspace/cli/websocket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

/** struct heard - all that came, as text. */
struct heard {
	char text[256];
	int result; /* of the next message */
};

static int hear(struct heard *h, const char *what, const uint8_t *data, size_t len)
{
	size_t n = strlen(h->text);

	(void)snprintf(h->text + n, sizeof(h->text) - n, "%s:%.*s;", what, (int)len,
		       (const char *)data);
	return h->result;
}

static int on_message(void *arg, const uint8_t *data, size_t len)
{
	return hear(arg, "message", data, len);
}

static int on_ping(void *arg, const uint8_t *data, size_t len)
{
	return hear(arg, "ping", data, len);
}

static int on_close(void *arg)
{
	return hear(arg, "close", (const uint8_t *)"", 0);
}

static const struct websocket_ops ops = {on_message, on_ping, on_close};

/* Text, a ping inside a fragmented message, a pong that nobody wants, 200 bytes, the end. */
static const uint8_t stream[] = "\x81\x05hello\x01\x03"
				"foo\x89\x01p\x80\x03"
				"bar\x8a\x00\x82\x7e\x00\x06"
				"longer\x88\x00";

static void frames_may_be_cut_anywhere(void **state)
{
	for (size_t piece = 1; piece < sizeof(stream); piece++) {
		struct websocket w = {0};
		struct heard h = {0};

		for (size_t at = 0; at < sizeof(stream) - 1; at += piece)
			assert_int_equal(websocket_feed(&w, stream + at,
							MIN(piece, sizeof(stream) - 1 - at), &ops,
							&h),
					 0);
		assert_string_equal(h.text,
				    "message:hello;ping:p;message:foobar;message:longer;close:;");
		websocket_reset(&w);
	}
}

static const struct {
	const char *bytes;
	size_t len;
	int error;
} bad[] = {
	{"\xc1\x00", 2, -EBADMSG},     /* a reserved bit */
	{"\x81\x80....", 6, -EBADMSG}, /* 5.1: "A server MUST NOT mask any frames" */
	{"\x83\x00", 2, -EBADMSG},     /* a reserved opcode */
	{"\x09\x00", 2, -EBADMSG},     /* 5.5: control frames "MUST NOT be fragmented" */
	{"\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00", 10, -EMSGSIZE},
	{"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10, -EMSGSIZE},
};

static void what_is_none_is_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct websocket w = {0};
		struct heard h = {0};

		assert_int_equal(websocket_feed(&w, bad[i].bytes, bad[i].len, &ops, &h),
				 bad[i].error);
		assert_string_equal(h.text, "");
		websocket_reset(&w);
	}
}

static void fragments_are_bounded_together(void **state)
{
	static uint8_t piece[1 << 20] = "\x02\x7f\x00\x00\x00\x00\x00\x0f\xff\xf6";
	struct websocket w = {0};
	struct heard h = {0};
	int r = 0;

	for (int i = 0; i < 17 && r == 0; i++) {
		r = websocket_feed(&w, piece, sizeof(piece), &ops, &h);
		piece[0] = 0;
	}
	assert_int_equal(r, -EMSGSIZE);
	websocket_reset(&w);
}

static void an_op_can_end_it(void **state)
{
	struct websocket w = {0};
	struct heard h = {.result = -ECANCELED};

	assert_int_equal(websocket_feed(&w, stream, sizeof(stream) - 1, &ops, &h), -ECANCELED);
	assert_string_equal(h.text, "message:hello;");
	websocket_reset(&w);
}

/* 5.3: what a client sends is masked. */
static void frames_of_ours_are_masked(void **state)
{
	_cleanup_(buf_resetp) struct buf b = {0};
	const uint8_t *p;

	assert_int_equal(websocket_frame(&b, WEBSOCKET_PONG, "hi", 2), 0);
	assert_int_equal(buf_len(&b), 8);
	p = buf_head(&b);
	assert_int_equal(p[0], 0x8a);
	assert_int_equal(p[1], 0x82);
	assert_int_equal(p[6] ^ p[2], 'h');
	assert_int_equal(p[7] ^ p[3], 'i');
	assert_int_equal(websocket_frame(&b, WEBSOCKET_PONG, stream, 126), -EMSGSIZE);
}

/* 1.3: the example. */
static void the_answer_to_a_key(void **state)
{
	char accept[WEBSOCKET_KEY_MAX], key[WEBSOCKET_KEY_MAX];

	assert_int_equal(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", accept), 0);
	assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	websocket_key(key);
	assert_int_equal(strlen(key), 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_may_be_cut_anywhere),
		cmocka_unit_test(what_is_none_is_refused),
		cmocka_unit_test(fragments_are_bounded_together),
		cmocka_unit_test(an_op_can_end_it),
		cmocka_unit_test(frames_of_ours_are_masked),
		cmocka_unit_test(the_answer_to_a_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

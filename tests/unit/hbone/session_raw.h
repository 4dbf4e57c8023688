/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* session_raw - a session whose other side writes bytes of its own. */
#include "hbone/session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Mostly the server; each of its streams in turn in one of a few places. */
struct side {
	struct hbone_session *s;
	struct hbone_stream streams[4];
	unsigned int n_streams;
	int answer; /* to each CONNECT; 0: none */
};

static inline void on_response(struct hbone_stream *st, const struct hbone_head *head)
{
}

/* What the server's application still has to say, and how much of it at a time. */
static struct {
	unsigned int times;
	size_t piece;
} speech;

static inline ssize_t on_read(struct hbone_stream *st, uint8_t *p, size_t n)
{
	if (speech.times == 0)
		return -EAGAIN;
	assert_true(speech.piece <= n);
	speech.times--;
	memset(p, 'x', speech.piece);
	return (ssize_t)speech.piece;
}

/* What the application was handed. */
static struct {
	unsigned int times, pieces;
	size_t len;
	uint8_t bytes[1024];
} handed;

static inline void on_data(struct hbone_stream *st, const struct iovec *iov, int n_iov, size_t len)
{
	handed.times++;
	for (int i = 0; i < n_iov && handed.len + iov[i].iov_len <= sizeof(handed.bytes); i++) {
		memcpy(handed.bytes + handed.len, iov[i].iov_base, iov[i].iov_len);
		handed.len += iov[i].iov_len;
		handed.pieces++;
	}
	hbone_stream_consume(st, len);
}

static inline void on_eof(struct hbone_stream *st)
{
}

static inline void on_close(struct hbone_stream *st, uint32_t code)
{
}

static const struct hbone_stream_ops stream_ops = {on_response, on_read, on_data, on_eof, on_close};

static inline int on_connect(void *arg, int32_t id, const struct hbone_head *head)
{
	struct side *sd = arg;
	struct hbone_stream *st = &sd->streams[sd->n_streams++ % ARRAY_SIZE(sd->streams)];

	if (st->session)
		hbone_stream_reset(st, HBONE_CANCEL);
	assert_int_equal(hbone_stream_bind(sd->s, st, &stream_ops, id), 0);
	return sd->answer ? hbone_stream_respond(st, sd->answer, NULL) : 0;
}

static inline void on_output(void *arg)
{
}

static const struct hbone_session_ops session_ops = {on_connect, on_output, NULL};

/* raw() - a client's bytes, then what the server makes of them. Return: 0: goes on; or of
 * hbone_session_recv() or _fault(). */
static inline int raw_answered(const void *p, size_t n, int answer)
{
	static uint8_t in[1 << 16], out[HBONE_FRAME_MAX];
	struct side sd = {.answer = answer};
	size_t len;
	int r, sent;

	assert_true(n <= sizeof(in));
	memcpy(in, p, n);
	assert_int_equal(hbone_session_new(true, &session_ops, &sd, &sd.s), 0);
	r = hbone_session_recv(sd.s, in, n);
	sent = hbone_session_send(sd.s, out, sizeof(out), &len);
	assert_true(sent <= 0);
	if (r == 0 && hbone_session_is_done(sd.s))
		r = hbone_session_fault(sd.s);
	hbone_session_free(sd.s);
	return r;
}

static inline int raw(const void *p, size_t n)
{
	return raw_answered(p, n, 200);
}

/* A frame's head and the client's preface with empty SETTINGS. */
#define OPENING     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
#define OPENING_LEN 33
#define CONNECT_BLOCK                                                                              \
	"\x02\x07"                                                                                 \
	"CONNECT"                                                                                  \
	"\x01\x03"                                                                                 \
	"a:1"
#define CONNECT_LEN 14
#define GET_BLOCK   "\x82\x87\x84\x01\x01x"
#define GET_LEN     6

static inline size_t put_frame(uint8_t *at, uint8_t type, uint32_t id, const void *payload,
			       size_t n)
{
	const uint8_t head[] = {
		(uint8_t)(n >> 16), (uint8_t)(n >> 8),   (uint8_t)n,          type,
		type == 1 ? 4 : 0,  (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
		(uint8_t)id};

	memcpy(at, head, sizeof(head));
	memcpy(at + sizeof(head), payload, n);
	return sizeof(head) + n;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-session - hostile HTTP/2 bytes against the HBONE session, as server and as client. The
 * streams of the server echo what they get, so that data, windows and closes are reached. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hbone/session.h"
#include "tests/fuzz/fuzz.h"

#define STREAMS_MAX 16

struct echo {
	struct hbone_stream stream;
	size_t pending;
	bool is_eof;
	bool is_used;
};

static struct echo echoes[STREAMS_MAX];
static struct hbone_session *session;

static ssize_t on_read(struct hbone_stream *st, uint8_t *p, size_t n)
{
	struct echo *e = container_of(st, struct echo, stream);
	size_t some = MIN(n, e->pending);

	if (some == 0)
		return e->is_eof ? 0 : -EAGAIN;
	memset(p, 'e', some);
	e->pending -= some;
	return (ssize_t)some;
}

static void on_data(struct hbone_stream *st, const struct iovec *iov, int n_iov, size_t len)
{
	struct echo *e = container_of(st, struct echo, stream);
	size_t sum = 0;

	for (int i = 0; i < n_iov; i++)
		sum += iov[i].iov_len;
	if (sum != len)
		abort();
	e->pending += len;
	hbone_stream_consume(st, len);
	hbone_stream_resume(st);
}

static void on_eof(struct hbone_stream *st)
{
	container_of(st, struct echo, stream)->is_eof = true;
	hbone_stream_resume(st);
}

static void on_close(struct hbone_stream *st, uint32_t code)
{
	memset(container_of(st, struct echo, stream), 0, sizeof(struct echo));
}

static void on_response(struct hbone_stream *st, const struct hbone_head *head)
{
}

static const struct hbone_stream_ops stream_ops = {
	.on_response = on_response,
	.on_read = on_read,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_close = on_close,
};

static int on_connect(void *arg, int32_t id, const struct hbone_head *head)
{
	for (size_t i = 0; i < STREAMS_MAX; i++) {
		if (echoes[i].is_used)
			continue;
		echoes[i].is_used = true;
		if (hbone_stream_bind(session, &echoes[i].stream, &stream_ops, id) < 0)
			abort();
		return hbone_stream_respond(&echoes[i].stream, 200, NULL);
	}
	return hbone_session_reject(session, id, 503);
}

static void on_output(void *arg)
{
}

static void on_goaway(void *arg)
{
}

static const struct hbone_session_ops session_ops = {
	.on_connect = on_connect,
	.on_output = on_output,
	.on_goaway = on_goaway,
};

static void drain(void)
{
	static uint8_t out[HBONE_SEND_MIN * 2];
	size_t n = 1;

	for (int i = 0; i < 64 && n > 0; i++)
		if (hbone_session_send(session, out, sizeof(out), &n) < 0)
			return;
}

/* The first byte chooses the role; the rest is given in pieces, so that every state sees a partial
 * frame. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct hbone_connect request = {.authority = "10.0.0.1:80"};
	size_t at = 1;

	if (size == 0)
		return 0;
	memset(echoes, 0, sizeof(echoes));
	if (hbone_session_new(data[0] & 1, &session_ops, NULL, &session) < 0)
		return 0;
	if (!(data[0] & 1)) {
		echoes[0].is_used = true;
		if (hbone_stream_open(session, &echoes[0].stream, &stream_ops, &request) < 0)
			abort();
	}
	drain();
	while (at < size) {
		uint8_t in[512];
		size_t piece = MIN(size - at, (size_t)(data[0] >> 1) * 4 + 1);

		memcpy(in, data + at, piece);
		if (hbone_session_recv(session, in, piece) < 0)
			break;
		drain();
		at += piece;
	}
	session = hbone_session_free(session);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* calm - how much a peer may make us do for nothing before it loses the connection. */
#include "hbone/session_internal.h"

/* Streams that a client may reset before they were answered, requests that are no CONNECT, streams
 * past the limit, frames that are wrong for their stream. Each stream that is answered earns one
 * back; what the others made us do was for nothing. What is left is whole again with each PING of
 * ours: clients that give up waiting for an application that hangs, some seconds for each of the
 * streams that a tunnel has, are slower than that. */
#define CALM_MAX 500
/* A frame that is wrong for its stream counts so often: no race of two honest ends makes one, and
 * what its stream earned by its answer does not pay for it. */
#define CALM_INVALID 4
/* Frames that bring nobody anything: PING, SETTINGS, PRIORITY, GOAWAY, DATA without bytes,
 * WINDOW_UPDATE of what nobody sent. (Types that are not known are skipped and cost nothing.) DATA
 * earns one back, and what is left is whole again with each PING of ours, too. A server's HEADERS
 * and RST_STREAM count as well: each stream that we open earns PATIENCE_OPENED, for an answer
 * before the last one, the last one, and the end. */
#define PATIENCE_MAX    2000
#define PATIENCE_OPENED 3
/* WINDOW_UPDATEs follow from DATA that the peer got, one for the stream and one for the connection;
 * from a frame that it takes in pieces one for each piece, and no reader's are smaller than this. A
 * new stream's window may be changed, too. Those are not counted. */
#define WINDOWS_PER_FRAME  2
#define WINDOWS_PER_STREAM 2
#define WINDOW_PIECE       64
/* What a peer may keep for later: more frames than wait in any reader. */
#define WINDOWS_MAX (4U * 1024 * 1024)

void session_calm_renew(struct hbone_session *s)
{
	s->calm = CALM_MAX;
	s->patience = PATIENCE_MAX;
}

static void end(struct hbone_session *s)
{
	s->is_flooded = true;
	(void)nghttp2_session_terminate_session(s->h2, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void lose_calm(struct hbone_session *s, unsigned int n)
{
	if (s->calm >= n)
		s->calm -= n;
	else
		end(s);
}

void session_lose_calm(struct hbone_session *s)
{
	lose_calm(s, 1);
}

void session_earn_calm(struct hbone_session *s)
{
	s->calm += s->calm < CALM_MAX;
}

void session_calm_opened(struct hbone_session *s)
{
	session_earn_calm(s);
	s->patience = MIN(s->patience + PATIENCE_OPENED, (unsigned int)PATIENCE_MAX);
}

int session_frame_invalid(nghttp2_session *h2, const nghttp2_frame *frame, int code, void *arg)
{
	struct hbone_session *s = arg;

	lose_calm(s, code == NGHTTP2_ERR_REFUSED_STREAM ? 1 : CALM_INVALID);
	return s->is_flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void lose_patience(struct hbone_session *s)
{
	if (s->patience > 0)
		s->patience--;
	else
		end(s);
}

static void earn_windows(struct hbone_session *s, uint64_t n)
{
	s->windows = (uint32_t)MIN(s->windows + n, (uint64_t)WINDOWS_MAX);
}

void session_data_sent(struct hbone_session *s, size_t n)
{
	earn_windows(s, WINDOWS_PER_FRAME + n / WINDOW_PIECE);
}

void session_data_heard(struct hbone_session *s, const nghttp2_frame *frame)
{
	/* without a byte: counted where it began */
	if (frame->hd.length == 0)
		return;
	if (frame->hd.length > frame->data.padlen)
		s->patience += s->patience < PATIENCE_MAX;
	else if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		lose_patience(s);
}

static bool is_for_nothing(struct hbone_session *s, const nghttp2_frame_hd *head)
{
	switch (head->type) {
	case NGHTTP2_DATA:
		return head->length == 0 && !(head->flags & NGHTTP2_FLAG_END_STREAM);
	case NGHTTP2_HEADERS:
		earn_windows(s, WINDOWS_PER_STREAM);
		return !s->is_server;
	case NGHTTP2_WINDOW_UPDATE:
		if (s->windows == 0)
			return true;
		s->windows--;
		return false;
	case NGHTTP2_RST_STREAM:
		return !s->is_server;
	case NGHTTP2_CONTINUATION:
		return false;
	default:
		return true;
	}
}

int session_on_begin_frame(nghttp2_session *h2, const nghttp2_frame_hd *head, void *arg)
{
	struct hbone_session *s = arg;

	s->frames++;
	if (is_for_nothing(s, head))
		lose_patience(s);
	return s->is_flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

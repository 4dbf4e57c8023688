/* SPDX-License-Identifier: Apache-2.0 */
/* calm - how much a peer may make us do for nothing before it loses the connection. */
#include "hbone/session_internal.h"

/* Streams that a client may reset before it can have seen their answer, requests that are no
 * CONNECT, streams past the limit, frames that are wrong for their stream. Each stream that is
 * answered earns one back; what the others made us do was for nothing. What is left is whole again
 * with each PING of ours: clients that give up waiting for an application that hangs, some seconds
 * for each of the streams that a tunnel has, are slower than that. */
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
/* So many bytes of header blocks that lead nowhere (http/blocks.h) there may be until our next
 * PING; whose request is taken, or whose answer, gets back what its header list was worth. */
#define HEADS_MAX (16 * 1024)
/* Each stream that we open earns so much, an answer with its baggage in the table: of one that is
 * reset before its answer comes, that is for nothing, and no fault of the server. */
#define HEADS_OPENED 64
/* So many bytes are as much work as a frame. */
#define HEAD_WORTH 32
/* A request past the limit of streams is a race that honest ends may lose many times: so much of
 * its block counts for nothing. */
#define HEAD_REFUSED_MAX 256
/* What unfolds into a list that we take is no longer than the list: each field has 32 bytes more
 * there than on the wire it needs. Padding, a priority and heads of frames come on top. */
#define BLOCK_MAX (HBONE_HEADER_LIST_MAX + 512)
/* A list so far past what we said that it can only be meant to cost. */
#define LIST_HARD_MAX (2 * HBONE_HEADER_LIST_MAX)

void session_calm_renew(struct hbone_session *s)
{
	s->calm = CALM_MAX;
	s->patience = PATIENCE_MAX;
	s->blocks.max = HEADS_MAX;
	s->blocks.one_max = BLOCK_MAX;
	http_blocks_renew(&s->blocks);
}

void session_flooded(struct hbone_session *s)
{
	s->is_flooded = true;
	(void)nghttp2_session_terminate_session(s->h2, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void lose_calm(struct hbone_session *s, unsigned int n)
{
	if (s->calm >= n)
		s->calm -= n;
	else
		session_flooded(s);
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
	http_blocks_earn(&s->blocks, HEADS_OPENED);
}

bool hbone_session_is_wasteful(const struct hbone_session *s)
{
	return s && s->blocks.left < HEADS_MAX / 2;
}

bool hbone_session_is_idle(const struct hbone_session *s)
{
	return s->stream_count == 0 && !hbone_session_is_wasteful(s);
}

static void earn_heads(struct hbone_session *s, size_t n)
{
	http_blocks_earn(&s->blocks, MIN((size_t)s->blocks.len, n));
}

void session_block_served(struct hbone_session *s)
{
	earn_heads(s, s->head.list_len);
}

/* refuse_block() - no more of the connection's blocks is unpacked. */
static void refuse_block(struct hbone_session *s)
{
	s->is_broken = true;
	(void)nghttp2_session_terminate_session(s->h2, NGHTTP2_ENHANCE_YOUR_CALM);
}

int session_list_grown(struct hbone_session *s)
{
	if (s->head.list_len <= LIST_HARD_MAX)
		return 0;
	refuse_block(s);
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* begin_block() - or the next piece of one; nothing of it has been unpacked. */
static void begin_block(struct hbone_session *s, const nghttp2_frame_hd *head)
{
	s->frames += (head->length + HTTP_BLOCK_FRAME) / HEAD_WORTH;
	switch (http_blocks_begin(&s->blocks, head)) {
	case HTTP_BLOCK_FINE:
		break;
	case HTTP_BLOCK_TOO_LONG:
		refuse_block(s);
		break;
	case HTTP_BLOCK_TOO_MANY:
		session_flooded(s);
		break;
	}
}

int session_frame_invalid(nghttp2_session *h2, const nghttp2_frame *frame, int code, void *arg)
{
	struct hbone_session *s = arg;

	if (code == NGHTTP2_ERR_REFUSED_STREAM)
		earn_heads(s, HEAD_REFUSED_MAX);
	lose_calm(s, code == NGHTTP2_ERR_REFUSED_STREAM ? 1 : CALM_INVALID);
	return s->is_flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void lose_patience(struct hbone_session *s)
{
	if (s->patience > 0)
		s->patience--;
	else
		session_flooded(s);
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
	if (head->type == NGHTTP2_HEADERS || head->type == NGHTTP2_CONTINUATION)
		begin_block(s, head);
	/* Nobody may ever send one. That it is an error nghttp2 only says once the peer has
	 * acknowledged our SETTINGS, and unpacks it before. */
	if (head->type == NGHTTP2_PUSH_PROMISE)
		refuse_block(s);
	return s->is_flooded || s->is_broken ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

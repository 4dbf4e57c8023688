/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/session.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "hbone/session_internal.h"

#define FRAME_HEAD_LEN 9
/* Less than this is not worth a frame of its own: the rest waits for the next buffer. */
#define READ_ROOM_MIN 4096

#define NOT_CONNECT_WORDS "This is HBONE: nothing but CONNECT to an address and port is served.\n"

struct hbone_stream *session_stream(struct hbone_session *s, int32_t id)
{
	return nghttp2_session_get_stream_user_data(s->h2, id);
}

void session_notify(struct hbone_session *s)
{
	/* Nothing but answers that nobody waits for, and no window that lets data go. */
	if (s->lazy > 0 && !s->is_window_changed &&
	    nghttp2_session_get_outbound_queue_size(s->h2) <= s->lazy)
		return;
	if (nghttp2_session_want_write(s->h2))
		s->ops->on_output(s->arg);
}

void session_link(struct hbone_session *s, struct hbone_stream *st,
		  const struct hbone_stream_ops *ops, int32_t id)
{
	st->ops = ops;
	st->session = s;
	st->id = id;
	st->unconsumed = 0;
	st->is_sleeping = false;
	st->is_answered = false;
	st->is_talking = false;
	st->answered_in = 0;
	st->heard_in = 0;
	st->opened_in = s->read_nr;
	list_add_tail(&s->streams, &st->_link);
	s->stream_count++;
}

/* session_unlink() - forget it; what it had not delivered no longer holds the connection's window.
 */
void session_unlink(struct hbone_session *s, struct hbone_stream *st)
{
	if (s->gather == st)
		s->gather = NULL;
	if (st->unconsumed > 0)
		(void)nghttp2_session_consume_connection(s->h2, st->unconsumed);
	st->unconsumed = 0;
	st->session = NULL;
	list_del(&st->_link);
	s->stream_count--;
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
	struct hbone_session *s = arg;

	hbone_head_reset(&s->head);
	return 0;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *arg)
{
	struct hbone_session *s = arg;

	hbone_head_add(&s->head, name, name_len, value, value_len);
	return session_list_grown(s);
}

int session_submit_error(struct hbone_session *s, int32_t id, int status)
{
	char text[4];
	nghttp2_nv nv;

	(void)snprintf(text, sizeof(text), "%03u", (unsigned int)status % 1000U);
	nv = session_nv(":status", text, 0);
	(void)nghttp2_session_set_stream_user_data(s->h2, id, NULL);
	return nghttp2_submit_response(s->h2, id, &nv, 1, NULL) < 0 ? -ENOMEM : 0;
}

/* read_words() - the rest of the sentence that source->ptr points into. */
/* NOLINTNEXTLINE(readability-function-size): the stack's signature */
static ssize_t read_words(nghttp2_session *h2, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
			  nghttp2_data_source *source, void *arg)
{
	const char *words = source->ptr;
	size_t left = strlen(words);

	n = MIN(n, left);
	memcpy(p, words, n);
	source->ptr = (void *)(uintptr_t)(words + n);
	if (n == left)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* explain_request() - somebody who speaks HTTP, but not HBONE, is told so. */
static void explain_request(struct hbone_session *s, int32_t id)
{
	const nghttp2_data_provider words = {
		.source.ptr = (void *)(uintptr_t)NOT_CONNECT_WORDS,
		.read_callback = read_words,
	};
	const nghttp2_nv nv = session_nv(":status", "400", NGHTTP2_NV_FLAG_NO_COPY_VALUE);

	session_lose_calm(s);
	(void)nghttp2_submit_response(s->h2, id, &nv, 1, &words);
}

static void on_request(struct hbone_session *s, int32_t id)
{
	int r;

	if (s->head.is_too_big || !s->head.is_connect || s->head.authority[0] == '\0') {
		explain_request(s, id);
		return;
	}
	session_block_served(s);
	r = s->ops->on_connect(s->arg, id, &s->head);
	if (r == -EDQUOT)
		session_flooded(s);
	else if (r < 0)
		(void)nghttp2_submit_rst_stream(s->h2, NGHTTP2_FLAG_NONE, id, HBONE_REFUSED_STREAM);
}

static void on_headers(struct hbone_session *s, const nghttp2_frame *frame)
{
	struct hbone_stream *st;

	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		on_request(s, frame->hd.stream_id);
		return;
	}
	st = session_stream(s, frame->hd.stream_id);
	/* No final status: an interim answer, or trailers. */
	if (!st || s->head.status < 200)
		return;
	session_block_served(s);
	st->ops->on_response(st, &s->head);
}

static void on_end_stream(struct hbone_session *s, int32_t id)
{
	struct hbone_stream *st = session_stream(s, id);

	if (st && s->gather == st)
		session_gather_flush(s);
	st = session_stream(s, id);
	if (st)
		st->ops->on_eof(st);
}

/* on_reset() - of a stream whose request and end came in one read nobody can have seen the answer,
 * and it earned nothing. */
static void on_reset(struct hbone_session *s, int32_t id)
{
	const struct hbone_stream *st = session_stream(s, id);
	bool is_unseen = st && (!st->is_answered || st->opened_in == s->read_nr);

	if (!s->is_server || !is_unseen)
		return;
	session_lose_calm(s);
	if (st->is_answered)
		session_lose_calm(s);
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
	struct hbone_session *s = arg;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		on_headers(s, frame);
		break;
	case NGHTTP2_GOAWAY:
		s->is_goaway = true;
		if (s->ops->on_goaway)
			s->ops->on_goaway(s->arg);
		return 0;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			s->is_ping_pending = false;
		return 0;
	case NGHTTP2_RST_STREAM:
		on_reset(s, frame->hd.stream_id);
		break;
	case NGHTTP2_DATA:
		session_data_heard(s, frame);
		break;
	case NGHTTP2_SETTINGS:
	case NGHTTP2_WINDOW_UPDATE:
		s->is_window_changed = true;
		return 0;
	default:
		return 0;
	}
	if (s->is_flooded)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (frame->hd.type != NGHTTP2_RST_STREAM && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		on_end_stream(s, frame->hd.stream_id);
	return 0;
}

/* on_frame_send() - an error answer is complete: let go of a request that still wants to send (RFC
 * 9113, section 8.1). GOAWAY with an error is the stack's, for what the peer did: it takes the rest
 * of what comes as if all were well. */
static int on_frame_send(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
	struct hbone_session *s = arg;
	int32_t id = frame->hd.stream_id;
	bool is_answer = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;

	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
		s->is_broken = true;
	if (s->is_server && is_answer && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    !session_stream(s, id) && nghttp2_session_get_stream_remote_close(h2, id) == 0)
		(void)nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, id, HBONE_NO_ERROR);
	return 0;
}

/* on_frame_not_send() - a CONNECT that waited when GOAWAY came is as good as refused. */
static int on_frame_not_send(nghttp2_session *h2, const nghttp2_frame *frame, int error, void *arg)
{
	struct hbone_session *s = arg;

	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		s->unsent_id = frame->hd.stream_id;
	return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t id, uint32_t code, void *arg)
{
	struct hbone_session *s = arg;
	struct hbone_stream *st = session_stream(s, id);

	if (!st)
		return 0;
	if (s->gather == st)
		session_gather_flush(s);
	st = session_stream(s, id);
	if (!st)
		return 0;
	(void)nghttp2_session_set_stream_user_data(h2, id, NULL);
	session_unlink(s, st);
	st->ops->on_close(st, id == s->unsent_id ? (uint32_t)HBONE_REFUSED_STREAM : code);
	return 0;
}

static ssize_t on_send(nghttp2_session *h2, const uint8_t *p, size_t n, int flags, void *arg)
{
	struct hbone_session *s = arg;

	n = MIN(n, s->out_cap - s->out_len);
	if (n == 0)
		return NGHTTP2_ERR_WOULDBLOCK;
	memcpy(s->out + s->out_len, p, n);
	s->out_len += n;
	return (ssize_t)n;
}

/* read_length() - how long the next frame may be; the stack lowers it to what the windows allow. */
/* NOLINTNEXTLINE(readability-function-size): the stack's signature */
static ssize_t read_length(nghttp2_session *h2, uint8_t type, int32_t id, int32_t connection_window,
			   int32_t stream_window, uint32_t frame_max, void *arg)
{
	const struct hbone_session *s = arg;
	size_t room = s->out_cap - s->out_len;
	size_t n = MIN((size_t)frame_max, (size_t)HBONE_FRAME_MAX);

	room = room > FRAME_HEAD_LEN ? room - FRAME_HEAD_LEN : 1;
	return (ssize_t)MIN(n, room);
}

/* session_read_data() - the application's bytes go straight to where they will be sent from, behind
 * the room for the frame's head, which on_send_data() fills in a moment later: nothing comes
 * between the two calls. */
/* NOLINTNEXTLINE(readability-function-size): the stack's signature */
ssize_t session_read_data(nghttp2_session *h2, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
			  nghttp2_data_source *source, void *arg)
{
	struct hbone_session *s = arg;
	struct hbone_stream *st = session_stream(s, id);
	ssize_t r;

	if (!st)
		return NGHTTP2_ERR_DEFERRED;
	if (s->out_cap - s->out_len < FRAME_HEAD_LEN + READ_ROOM_MIN)
		return NGHTTP2_ERR_PAUSE;
	r = st->ops->on_read(st, s->out + s->out_len + FRAME_HEAD_LEN, n);
	if (r > 0) {
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
		return r;
	}
	if (r == 0) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		return 0;
	}
	if (r == -EAGAIN)
		st->is_sleeping = true;
	else
		(void)nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, id, HBONE_CONNECT_ERROR);
	return NGHTTP2_ERR_DEFERRED;
}

static int on_send_data(nghttp2_session *h2, nghttp2_frame *frame, const uint8_t *head, size_t n,
			nghttp2_data_source *source, void *arg)
{
	struct hbone_session *s = arg;

	memcpy(s->out + s->out_len, head, FRAME_HEAD_LEN);
	s->out_len += FRAME_HEAD_LEN + n;
	session_data_sent(s, n);
	return 0;
}

static int make_callbacks(nghttp2_session_callbacks **ret)
{
	nghttp2_session_callbacks *c;

	if (nghttp2_session_callbacks_new(&c) < 0)
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_begin_frame_callback(c, session_on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, session_frame_invalid);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_send);
	session_hear_data(c);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
	nghttp2_session_callbacks_set_send_callback(c, on_send);
	nghttp2_session_callbacks_set_send_data_callback(c, on_send_data);
	nghttp2_session_callbacks_set_data_source_read_length_callback(c, read_length);
	*ret = c;
	return 0;
}

static int h2_new(struct hbone_session *s)
{
	nghttp2_session_callbacks *c = NULL;
	nghttp2_option *o = NULL;
	int r;

	r = make_callbacks(&c);
	if (r < 0)
		return r;
	r = session_make_options(&o);
	if (r == 0) {
		if (s->is_server)
			r = nghttp2_session_server_new2(&s->h2, c, s, o);
		else
			r = nghttp2_session_client_new2(&s->h2, c, s, o);
		nghttp2_option_del(o);
	}
	nghttp2_session_callbacks_del(c);
	return r < 0 ? -ENOMEM : 0;
}

int hbone_session_new(bool is_server, const struct hbone_session_ops *ops, void *arg,
		      struct hbone_session **ret)
{
	_cleanup_(hbone_session_freep) struct hbone_session *s = NULL;
	int r;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->ops = ops;
	s->arg = arg;
	s->is_server = is_server;
	session_calm_renew(s);
	s->recv_nr = s->read_nr = 1;
	s->frames_at.left = is_server ? FRAMES_PREFACE : 0;
	s->lost_code = HBONE_INTERNAL_ERROR;
	list_init(&s->streams);
	r = h2_new(s);
	if (r < 0)
		return r;
	r = session_submit_settings(s);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

void hbone_session_lost(struct hbone_session *s, uint32_t code)
{
	if (s)
		s->lost_code = code;
}

bool hbone_session_close_some(struct hbone_session *s, unsigned int n)
{
	for (; n > 0 && !list_is_empty(&s->streams); n--) {
		struct hbone_stream *st = list_entry(s->streams.next, struct hbone_stream, _link);

		(void)nghttp2_session_set_stream_user_data(s->h2, st->id, NULL);
		session_unlink(s, st);
		st->ops->on_close(st, s->lost_code);
	}
	return !list_is_empty(&s->streams);
}

struct hbone_session *hbone_session_free(struct hbone_session *s)
{
	if (!s)
		return NULL;
	while (hbone_session_close_some(s, UINT_MAX))
		;
	nghttp2_session_del(s->h2);
	free(s);
	return NULL;
}

int hbone_session_send(struct hbone_session *s, uint8_t *p, size_t cap, size_t *ret_n)
{
	int r;

	assert(cap >= HBONE_SEND_MIN);
	s->out = p;
	s->out_cap = cap;
	s->out_len = 0;
	s->lazy = 0;
	r = nghttp2_session_send(s->h2);
	s->out = NULL;
	if (r == NGHTTP2_ERR_NOMEM)
		return -ENOMEM;
	if (r < 0)
		return -EPROTO;
	*ret_n = s->out_len;
	return 0;
}

bool hbone_session_is_done(const struct hbone_session *s)
{
	return !nghttp2_session_want_read(s->h2) && !nghttp2_session_want_write(s->h2);
}

int hbone_session_fault(const struct hbone_session *s)
{
	if (s->is_flooded)
		return -EDQUOT;
	return s->is_broken ? -EPROTO : 0;
}

size_t hbone_session_queued(const struct hbone_session *s)
{
	return nghttp2_session_get_outbound_queue_size(s->h2);
}

uint64_t hbone_session_frames(const struct hbone_session *s)
{
	return s->frames;
}

uint64_t hbone_session_repeats(const struct hbone_session *s)
{
	return s->repeats;
}

uint32_t hbone_session_stream_count(const struct hbone_session *s)
{
	return s->stream_count;
}

uint32_t hbone_session_streams_max(const struct hbone_session *s)
{
	uint32_t peer =
		nghttp2_session_get_remote_settings(s->h2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	return MIN(peer, (uint32_t)HBONE_SERVER_STREAMS_MAX);
}

bool hbone_session_is_usable(const struct hbone_session *s)
{
	return !s->is_server && !s->is_goaway && s->stream_count < hbone_session_streams_max(s) &&
	       nghttp2_session_check_request_allowed(s->h2);
}

int hbone_session_ping(struct hbone_session *s)
{
	if (s->is_ping_pending)
		return -EBUSY;
	if (nghttp2_submit_ping(s->h2, NGHTTP2_FLAG_NONE, NULL) < 0)
		return -ENOMEM;
	s->is_ping_pending = true;
	session_calm_renew(s);
	s->ops->on_output(s->arg);
	return 0;
}

bool hbone_session_is_ping_pending(const struct hbone_session *s)
{
	return s->is_ping_pending;
}

int hbone_session_shutdown_notice(struct hbone_session *s)
{
	if (nghttp2_submit_shutdown_notice(s->h2) < 0)
		return -ENOMEM;
	session_notify(s);
	return 0;
}

int hbone_session_goaway(struct hbone_session *s, uint32_t code)
{
	int32_t last = nghttp2_session_get_last_proc_stream_id(s->h2);

	if (nghttp2_submit_goaway(s->h2, NGHTTP2_FLAG_NONE, last, code, NULL, 0) < 0)
		return -ENOMEM;
	s->is_goaway = true;
	session_notify(s);
	return 0;
}

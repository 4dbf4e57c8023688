/* SPDX-License-Identifier: Apache-2.0 */
/* stream - the half of session.h that its users call from outside: open, answer, resume, consume,
 * reset. */
#include <errno.h>
#include <string.h>

#include "hbone/session_internal.h"

static void answer_later(struct hbone_session *s)
{
	if (!s->ops->on_output_later) {
		s->ops->on_output(s->arg);
		return;
	}
	s->lazy++;
	s->ops->on_output_later(s->arg);
}

void session_answered(struct hbone_session *s, struct hbone_stream *st)
{
	if (st->is_talking) {
		answer_later(s);
	} else if (s->is_receiving) {
		/* its DATA may be in the same read */
		st->answered_in = s->recv_nr;
		s->waiting++;
	} else {
		s->ops->on_output(s->arg);
	}
}

void session_heard(struct hbone_session *s, struct hbone_stream *st)
{
	st->is_talking = true;
	if (st->answered_in == s->recv_nr) {
		s->waiting--;
		answer_later(s);
	}
}

int hbone_stream_open(struct hbone_session *s, struct hbone_stream *st,
		      const struct hbone_stream_ops *ops, const struct hbone_connect *c)
{
	const nghttp2_data_provider data = {.read_callback = session_read_data};
	nghttp2_nv nv[5];
	size_t n = 0;
	int32_t id;

	if (!hbone_session_is_usable(s))
		return -EBUSY;
	nv[n++] = session_nv(":method", "CONNECT", NGHTTP2_NV_FLAG_NO_COPY_VALUE);
	nv[n++] = session_nv(":authority", c->authority, 0);
	if (c->baggage && c->baggage[0] != '\0')
		nv[n++] = session_nv("baggage", c->baggage, 0);
	/* These differ each time: kept out of the compression table. */
	if (c->forwarded)
		nv[n++] = session_nv("forwarded", c->forwarded, NGHTTP2_NV_FLAG_NO_INDEX);
	if (c->traceparent)
		nv[n++] = session_nv("traceparent", c->traceparent, NGHTTP2_NV_FLAG_NO_INDEX);
	id = nghttp2_submit_request(s->h2, NULL, nv, n, &data, st);
	if (id < 0)
		return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EBUSY;
	session_link(s, st, ops, id);
	session_calm_opened(s);
	s->ops->on_output(s->arg);
	return 0;
}

int hbone_stream_bind(struct hbone_session *s, struct hbone_stream *st,
		      const struct hbone_stream_ops *ops, int32_t id)
{
	if (nghttp2_session_set_stream_user_data(s->h2, id, st) < 0)
		return -ENOENT;
	session_link(s, st, ops, id);
	return 0;
}

int hbone_stream_respond(struct hbone_stream *st, int status, const char *baggage)
{
	const nghttp2_data_provider data = {.read_callback = session_read_data};
	struct hbone_session *s = st->session;
	nghttp2_nv nv[2];
	size_t n = 0;

	if (!s)
		return -ENOTCONN;
	if (status != 200) {
		int r = session_submit_error(s, st->id, status);

		session_unlink(s, st);
		s->ops->on_output(s->arg);
		return r;
	}
	nv[n++] = session_nv(":status", "200", NGHTTP2_NV_FLAG_NO_COPY_VALUE);
	if (baggage && baggage[0] != '\0')
		nv[n++] = session_nv("baggage", baggage, 0);
	if (nghttp2_submit_response(s->h2, st->id, nv, n, &data) < 0)
		return -ENOMEM;
	st->is_answered = true;
	session_earn_calm(s);
	session_answered(s, st);
	return 0;
}

void hbone_session_each_stream(struct hbone_session *s,
			       void (*fn)(void *arg, struct hbone_stream *st), void *arg)
{
	struct hbone_stream *st, *next;

	list_for_each_entry_safe (st, next, &s->streams, _link)
		fn(arg, st);
}

int hbone_session_reject(struct hbone_session *s, int32_t id, int status)
{
	int r = session_submit_error(s, id, status);

	s->ops->on_output(s->arg);
	return r;
}

void hbone_stream_resume(struct hbone_stream *st)
{
	struct hbone_session *s = st->session;

	/* Asleep, or not asked yet because its answer waits for company. */
	if (!s || (!st->is_sleeping && s->lazy == 0))
		return;
	if (st->is_sleeping)
		(void)nghttp2_session_resume_data(s->h2, st->id);
	st->is_sleeping = false;
	s->ops->on_output(s->arg);
}

void hbone_stream_consume(struct hbone_stream *st, size_t n)
{
	struct hbone_session *s = st->session;

	if (!s)
		return;
	n = MIN(n, (size_t)st->unconsumed);
	st->unconsumed -= (uint32_t)n;
	(void)nghttp2_session_consume(s->h2, st->id, n);
	session_notify(s);
}

void hbone_stream_reset(struct hbone_stream *st, uint32_t code)
{
	struct hbone_session *s = st->session;

	if (!s)
		return;
	(void)nghttp2_session_set_stream_user_data(s->h2, st->id, NULL);
	(void)nghttp2_submit_rst_stream(s->h2, NGHTTP2_FLAG_NONE, st->id, code);
	session_unlink(s, st);
	s->ops->on_output(s->arg);
}

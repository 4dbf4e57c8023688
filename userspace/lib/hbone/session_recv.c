/* SPDX-License-Identifier: Apache-2.0 */
/* What a session hears: frames, in parts where they are small, and the DATA of one stream together.
 */
#include <errno.h>

#include "base/reserve.h"
#include "base/str.h"
#include "hbone/session_internal.h"

/* To move so many bytes costs less than a piece of their own in what is handed over. */
#define MOVE_MAX 256
/* Bytes of a frame, on average, below which what frames cost is their number. They are worked off
 * for so long at a time; the clock is looked at after PART bytes. */
#define SMALL   128
#define TIME_US 100
#define PART    128

void session_gather_flush(struct hbone_session *s)
{
	struct hbone_stream *st = s->gather;

	s->gather = NULL;
	if (st)
		st->ops->on_data(st, s->iov, s->n_iov, s->gather_len);
}

/* gather_add() - a frame's bytes. Few are moved to behind the last ones, over the heads between
 * them, which have been read: a piece for each byte would cost more than the byte. */
static void gather_add(struct hbone_session *s, uint8_t *p, size_t n)
{
	struct iovec *last = s->n_iov > 0 ? &s->iov[s->n_iov - 1] : NULL;

	if (last && n <= MOVE_MAX) {
		memmove((uint8_t *)last->iov_base + last->iov_len, p, n);
		last->iov_len += n;
	} else {
		s->iov[s->n_iov++] = (struct iovec){.iov_base = p, .iov_len = n};
	}
	s->gather_len += n;
}

static int on_data_chunk(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
			 void *arg)
{
	struct hbone_session *s = arg;
	struct hbone_stream *st = session_stream(s, id);

	if (!st) {
		(void)nghttp2_session_consume(h2, id, n);
		return 0;
	}
	if (s->gather != st || s->n_iov == GATHER_MAX) {
		session_gather_flush(s);
		/* The flush may have ended the very stream. */
		st = session_stream(s, id);
		if (!st) {
			(void)nghttp2_session_consume(h2, id, n);
			return 0;
		}
		s->gather = st;
		s->gather_len = 0;
		s->n_iov = 0;
	}
	if (s->is_server && !st->is_talking)
		session_heard(s, st);
	gather_add(s, (uint8_t *)(uintptr_t)p, n);
	s->repeats += st->heard_in == s->read_nr;
	st->heard_in = s->read_nr;
	st->unconsumed += (uint32_t)n;
	return 0;
}

void session_hear_data(nghttp2_session_callbacks *c)
{
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data_chunk);
}

static int feed(struct hbone_session *s, const uint8_t *p, size_t n)
{
	ssize_t r = nghttp2_session_mem_recv(s->h2, p, n);

	if (r == NGHTTP2_ERR_NOMEM)
		return -ENOMEM;
	if (r == NGHTTP2_ERR_FLOODED)
		return -EDQUOT;
	return r < 0 || (size_t)r != n ? -EPROTO : 0;
}

static bool is_small(const struct hbone_session *s, const uint8_t *p, size_t n)
{
	return n < frames_count(s->frames_at, p, n) * SMALL;
}

/* feed_parts() - Return: how much of @p is worked off; -errno. */
static ssize_t feed_parts(struct hbone_session *s, const uint8_t *p, size_t n, bool is_whole)
{
	uint64_t end = is_whole ? 0 : now_monotonic_us() + TIME_US;
	size_t at = 0;

	while (at < n) {
		size_t k = frames_part(&s->frames_at, p + at, n - at, is_whole ? n : PART);
		int r = feed(s, p + at, k);

		if (r < 0)
			return r;
		at += k;
		if (!is_whole && n - at <= HBONE_LEFT_MAX && now_monotonic_us() >= end)
			break;
	}
	return (ssize_t)at;
}

static ssize_t hear(struct hbone_session *s, uint8_t *p, size_t n, bool is_whole)
{
	ssize_t r;

	s->is_receiving = true;
	r = feed_parts(s, p, n, is_whole);
	session_gather_flush(s);
	s->is_receiving = false;
	if (s->waiting > 0)
		s->ops->on_output(s->arg);
	else
		session_notify(s);
	s->waiting = 0;
	s->is_window_changed = false;
	s->recv_nr++;
	s->read_nr += r == (ssize_t)n;
	/* more answers to PING and SETTINGS than it takes from us */
	if (s->is_flooded && r != -ENOMEM)
		return -EDQUOT;
	return r;
}

ssize_t hbone_session_recv_some(struct hbone_session *s, uint8_t *p, size_t n)
{
	return hear(s, p, n, n <= PART || !is_small(s, p, n) || !reserve_is_whole());
}

int hbone_session_recv(struct hbone_session *s, uint8_t *p, size_t n)
{
	ssize_t r = hear(s, p, n, true);

	return r < 0 ? (int)r : 0;
}

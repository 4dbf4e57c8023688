/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/splice.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "ztunnel/relay.h"

/* Reads per direction and turn, so that one connection does not starve the loop. */
#define ROUNDS_MAX 8

static void release(struct splice *s, bool is_reset)
{
	s->is_done = true;
	loop_task_del(&s->again);
	for (int i = 0; i < 2; i++) {
		struct splice_end *e = &s->ends[i];

		relay_reset_on_close(e->watch.fd, is_reset);
		loop_close(&e->watch);
		buf_reset(&e->pending);
	}
}

void splice_reset(struct splice *s)
{
	if (s->ops && !s->is_done)
		release(s, true);
}

static ssize_t send_end(struct splice_end *e, const uint8_t *p, size_t n)
{
	ssize_t k;

	if (!e->is_writable)
		return 0;
	k = send(e->watch.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (k < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		k = 0;
	}
	if ((size_t)k < n)
		e->is_writable = false;
	return k;
}

static void count(struct splice *s, const struct splice_end *to, size_t n)
{
	if (n == 0)
		return;
	if (to == &s->ends[1])
		s->ops->on_bytes(s, n, 0);
	else
		s->ops->on_bytes(s, 0, n);
}

static int flush_pending(struct splice *s, struct splice_end *to)
{
	ssize_t n;

	if (buf_len(&to->pending) == 0)
		return 0;
	n = send_end(to, buf_head(&to->pending), buf_len(&to->pending));
	if (n < 0)
		return (int)n;
	buf_consume(&to->pending, (size_t)n);
	if (buf_len(&to->pending) == 0)
		buf_reset(&to->pending);
	count(s, to, (size_t)n);
	return 0;
}

/* read_some() - Return: bytes in the scratch buffer; 0 nothing now, or the end (is_eof); -errno. */
static ssize_t read_some(struct splice *s, struct splice_end *from)
{
	ssize_t n = recv(from->watch.fd, s->scratch, SPLICE_READ_MAX, MSG_DONTWAIT);

	if (n > 0) {
		if (n < SPLICE_READ_MAX && !from->is_hup && !from->is_urgent)
			from->is_readable = false;
		return n;
	}
	if (n < 0 && errno == EINTR)
		return 0;
	from->is_readable = false;
	from->is_urgent = false;
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	from->is_eof = true;
	return 0;
}

/* move() - bytes of one direction, as far as it goes. Return: 0; -errno: the connection is broken.
 */
static int move(struct splice *s, struct splice_end *from, struct splice_end *to)
{
	int r = flush_pending(s, to);

	for (int i = 0; r == 0 && i < ROUNDS_MAX; i++) {
		ssize_t n, k;

		if (buf_len(&to->pending) > 0 || !from->is_readable || from->is_eof)
			break;
		n = read_some(s, from);
		if (n < 0)
			return (int)n;
		if (n == 0)
			continue;
		k = send_end(to, s->scratch, (size_t)n);
		if (k < 0)
			return (int)k;
		count(s, to, (size_t)k);
		if (k < n)
			r = buf_append(&to->pending, s->scratch + k, (size_t)(n - k));
	}
	return r;
}

/* pump() - and its end. */
static int pump(struct splice *s, struct splice_end *from, struct splice_end *to)
{
	int r = move(s, from, to);

	if (r == 0 && from->is_eof && buf_len(&to->pending) == 0 && !to->is_shut) {
		to->is_shut = true;
		(void)shutdown(to->watch.fd, SHUT_WR);
	}
	return r;
}

static bool has_more(const struct splice_end *from, const struct splice_end *to)
{
	return from->is_readable && !from->is_eof && buf_len(&to->pending) == 0;
}

static void run(struct splice *s)
{
	struct splice_end *a = &s->ends[0], *b = &s->ends[1];
	int r = pump(s, a, b);

	/* Who takes nothing more may have said why before; that it ends there is not its FIN. */
	if (r == 0) {
		r = pump(s, b, a);
	} else {
		b->is_readable = true;
		(void)move(s, b, a);
	}
	if (r < 0 || (a->is_shut && b->is_shut)) {
		release(s, r < 0);
		s->ops->on_done(s, r < 0 ? -ECONNRESET : 0);
		return;
	}
	if (has_more(a, b) || has_more(b, a))
		loop_task_queue(s->loop, &s->again);
}

static void on_again(struct loop_task *t)
{
	run(container_of(t, struct splice, again));
}

static void on_end(struct splice *s, struct splice_end *e, uint32_t events)
{
	if (events & EPOLLPRI)
		e->is_urgent = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		e->is_hup = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		e->is_readable = true;
	if (events & EPOLLOUT)
		e->is_writable = true;
	/* Broken, and no read or write of ours would find out: its FIN is read, or the other end is
	 * full. */
	if (events & EPOLLERR && (e->is_eof || buf_len(&s->ends[e == &s->ends[0]].pending) > 0)) {
		release(s, true);
		s->ops->on_done(s, -ECONNRESET);
		return;
	}
	run(s);
}

static void on_first(struct loop_fd *w, uint32_t events)
{
	struct splice_end *e = container_of(w, struct splice_end, watch);

	on_end(container_of(e, struct splice, ends[0]), e, events);
}

static void on_second(struct loop_fd *w, uint32_t events)
{
	struct splice_end *e = container_of(w, struct splice_end, watch);

	on_end(container_of(e, struct splice, ends[1]), e, events);
}

void splice_said(struct splice *s, struct buf *said, bool is_eof)
{
	s->ends[1].pending = *said;
	s->ends[1].pending.limit = 0;
	s->ends[0].is_eof = is_eof;
	memset(said, 0, sizeof(*said));
}

int splice_start(struct splice *s, struct loop *loop, uint8_t *scratch, const int fds[2],
		 const struct splice_ops *ops)
{
	int r = 0;

	s->loop = loop;
	s->scratch = scratch;
	s->ops = ops;
	s->again.on_task = on_again;
	s->ends[0].watch.on_event = on_first;
	s->ends[1].watch.on_event = on_second;
	for (int i = 0; i < 2 && r == 0; i++) {
		s->ends[i].is_writable = true;
		s->ends[i].watch.fd = fds[i];
		r = loop_add(loop, &s->ends[i].watch,
			     EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	}
	if (r < 0) {
		loop_del(&s->ends[0].watch);
		buf_reset(&s->ends[1].pending);
		s->ops = NULL;
		return r;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* How long bytes that the application sent before it reset may still be read and sent on. */
#define LINGER_US (2 * 1000000ULL)

/* So little is one segment that leaves at once, whatever Nagle says and however small the
 * application's window is. */
#define ONE_SEGMENT 512

struct relay_replay {
	struct buf said;
	size_t pos;   /* of it, what the present stream has had */
	bool is_lost; /* too much, or no memory */
	bool is_last; /* the present stream was answered: kept until it has had all */
};

void relay_keep(struct relay *r)
{
	if (r->replay)
		return;
	r->replay = calloc(1, sizeof(*r->replay));
	if (r->replay)
		r->replay->said.limit = RELAY_REPLAY_MAX;
}

bool relay_can_replay(const struct relay *r)
{
	return r->replay && !r->replay->is_lost;
}

void relay_rewind(struct relay *r)
{
	if (r->replay)
		r->replay->pos = 0;
}

void relay_take_said(struct relay *r, struct buf *into)
{
	if (!r->replay)
		return;
	*into = r->replay->said;
	memset(&r->replay->said, 0, sizeof(r->replay->said));
}

static void replay_free(struct relay *r)
{
	if (r->replay)
		buf_reset(&r->replay->said);
	free(r->replay);
	r->replay = NULL;
}

static void replay_add(struct relay *r, const uint8_t *p, size_t n)
{
	struct relay_replay *y = r->replay;

	if (!y || y->is_lost)
		return;
	if (buf_append(&y->said, p, n) < 0) {
		y->is_lost = true;
		buf_reset(&y->said);
	}
	y->pos = buf_len(&y->said);
}

/* replay_read() - what this stream has not had yet. Return: bytes; 0 none. */
static size_t replay_read(struct relay_replay *y, uint8_t *p, size_t n)
{
	n = MIN(n, buf_len(&y->said) - y->pos);
	if (n > 0)
		memcpy(p, buf_head(&y->said) + y->pos, n);
	y->pos += n;
	return n;
}

void relay_reset_on_close(int fd, bool is_reset)
{
	const struct linger l = {.l_onoff = is_reset, .l_linger = 0};

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

int relay_close_rst(int fd)
{
	relay_reset_on_close(fd, true);
	return close_fd(fd);
}

/* is_settled() - our FIN is out, with nothing before it that could have waited, and the
 * application's has come: TCP is through with it, and no close makes an RST of that. */
static bool is_settled(const struct relay *r)
{
	return r->is_fin_first && r->is_app_eof && r->sent <= ONE_SEGMENT;
}

static void release(struct relay *r, bool is_reset)
{
	r->is_done = true;
	loop_timer_del(&r->linger);
	loop_task_del(&r->drain);
	if (is_reset || !is_settled(r))
		relay_reset_on_close(r->app.fd, is_reset);
	loop_close(&r->app);
	buf_reset(&r->pending);
	replay_free(r);
}

static void finish(struct relay *r, int error, uint32_t code)
{
	if (r->is_done)
		return;
	release(r, error != 0);
	r->ops->on_done(r, error, code);
}

void relay_reset(struct relay *r, uint32_t code)
{
	if (r->is_done)
		return;
	hbone_stream_reset(&r->stream, code);
	release(r, true);
}

static void on_linger(struct loop_timer *t)
{
	struct relay *r = container_of(t, struct relay, linger);

	hbone_stream_reset(&r->stream, HBONE_CONNECT_ERROR);
	finish(r, -ECONNRESET, HBONE_NO_ERROR);
}

/* break_app() - the application will take nothing more. What it said before still goes out, then
 * the reset follows. */
static void break_app(struct relay *r)
{
	if (r->is_app_broken)
		return;
	r->is_app_broken = true;
	r->is_hup = true;
	r->is_readable = true;
	hbone_stream_consume(&r->stream, buf_len(&r->pending));
	buf_reset(&r->pending);
	(void)loop_timer_set(r->loop, &r->linger, r->is_app_eof ? 1 : LINGER_US);
	hbone_stream_resume(&r->stream);
}

/* shut_when_drained() - pass the peer's END_STREAM on once everything before it has been delivered.
 */
static void shut_when_drained(struct relay *r)
{
	if (!r->is_stream_eof || r->is_shut || !r->is_connected || r->is_app_broken ||
	    buf_len(&r->pending) > 0)
		return;
	r->is_shut = true;
	/* With the application's FIN sent on, the stream is over in a moment: the close says the
	 * same. */
	if (r->is_app_eof)
		return;
	r->is_fin_first = true;
	(void)shutdown(r->app.fd, SHUT_WR);
}

static void delivered(struct relay *r, size_t n)
{
	hbone_stream_consume(&r->stream, n);
	r->ops->on_bytes(r, 0, n);
}

/* nagle_off() - a small message must not wait for the ACK of the one before it. The first one has
 * none before it, and many connections have no other. */
static void nagle_off(struct relay *r, size_t len)
{
	const int one = 1;

	if (!r->is_nagling || (r->sent == 0 && len <= ONE_SEGMENT))
		return;
	r->is_nagling = false;
	(void)setsockopt(r->app.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* send_app() - Return: bytes taken, 0 when it takes none for now; -errno when it never will. */
static ssize_t send_app(struct relay *r, const struct iovec *iov, int n_iov, size_t len)
{
	const struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
				   .msg_iovlen = (size_t)n_iov};
	ssize_t n;

	if (!r->is_connected || !r->is_writable)
		return 0;
	nagle_off(r, len);
	n = sendmsg(r->app.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		n = 0;
	}
	r->sent += (uint64_t)n;
	if ((size_t)n < len) {
		r->is_writable = false;
		(void)loop_set(&r->app, r->app.events | EPOLLOUT);
	}
	return n;
}

static void flush_pending(struct relay *r)
{
	struct iovec iov = {.iov_len = buf_len(&r->pending)};
	ssize_t n;

	if (iov.iov_len == 0)
		return;
	iov.iov_base = buf_head(&r->pending);
	n = send_app(r, &iov, 1, iov.iov_len);
	if (n < 0) {
		break_app(r);
		return;
	}
	buf_consume(&r->pending, (size_t)n);
	if (buf_len(&r->pending) == 0)
		buf_reset(&r->pending);
	if (n > 0)
		delivered(r, (size_t)n);
}

static int keep(struct relay *r, const struct iovec *iov, int n_iov, size_t skip)
{
	for (int i = 0; i < n_iov; i++) {
		size_t cut = MIN(skip, iov[i].iov_len);
		int k;

		skip -= cut;
		k = buf_append(&r->pending, (const uint8_t *)iov[i].iov_base + cut,
			       iov[i].iov_len - cut);
		if (k < 0)
			return k;
	}
	return 0;
}

/* drain() - the application takes bytes, or may. */
static void drain(struct relay *r)
{
	flush_pending(r);
	shut_when_drained(r);
	if (r->is_stream_over && buf_len(&r->pending) == 0)
		finish(r, 0, HBONE_NO_ERROR);
}

static void on_drain(struct loop_task *task)
{
	drain(container_of(task, struct relay, drain));
}

/* can_wait() - there was a write in this turn, and will be one at its end. */
static bool can_wait(struct relay *r, size_t len)
{
	uint64_t before = r->turn;

	r->turn = loop_turn(r->loop);
	if (before != r->turn || len > ONE_SEGMENT)
		return false;
	loop_task_queue(r->loop, &r->drain);
	return true;
}

static void on_stream_data(struct hbone_stream *st, const struct iovec *iov, int n_iov, size_t len)
{
	struct relay *r = container_of(st, struct relay, stream);
	ssize_t n = 0;

	if (r->is_app_broken) {
		hbone_stream_consume(st, len);
		return;
	}
	if (!can_wait(r, len)) {
		flush_pending(r);
		if (buf_len(&r->pending) == 0)
			n = send_app(r, iov, n_iov, len);
	}
	if (n < 0) {
		break_app(r);
		hbone_stream_consume(st, len);
		return;
	}
	if (n > 0)
		delivered(r, (size_t)n);
	/* The window bounds it; more than that is a peer that ignores windows, which the session
	 * has caught before. */
	if ((size_t)n < len && keep(r, iov, n_iov, (size_t)n) < 0)
		break_app(r);
}

static void on_stream_eof(struct hbone_stream *st)
{
	struct relay *r = container_of(st, struct relay, stream);

	r->is_stream_eof = true;
	shut_when_drained(r);
}

static ssize_t on_stream_read(struct hbone_stream *st, uint8_t *p, size_t n)
{
	struct relay *r = container_of(st, struct relay, stream);
	ssize_t k;

	if (r->is_held || !r->is_connected)
		return -EAGAIN;
	if (r->replay) {
		k = (ssize_t)replay_read(r->replay, p, n);
		if (k > 0)
			return k;
		if (r->replay->is_last)
			replay_free(r);
	}
	if (r->is_app_eof && !r->is_app_broken)
		return 0;
	if (!r->is_readable)
		return -EAGAIN;
	k = recv(r->app.fd, p, n, MSG_DONTWAIT);
	if (k > 0) {
		replay_add(r, p, (size_t)k);
		/* A short read has emptied the socket; what comes later makes a new edge. */
		if ((size_t)k < n && !r->is_hup && !r->is_urgent)
			r->is_readable = false;
		r->ops->on_bytes(r, (uint64_t)k, 0);
		return k;
	}
	if (k == 0 && !r->is_app_broken) {
		r->is_app_eof = true;
		r->is_readable = false;
		return 0;
	}
	if (k < 0 && errno == EINTR)
		return on_stream_read(st, p, n);
	if (k < 0 && errno == EAGAIN && !r->is_app_broken) {
		r->is_readable = false;
		r->is_urgent = false;
		return -EAGAIN;
	}
	r->is_readable = false;
	return -ECONNRESET;
}

static void on_stream_response(struct hbone_stream *st, const struct hbone_head *head)
{
	struct relay *r = container_of(st, struct relay, stream);

	if (r->ops->on_response)
		r->ops->on_response(r, head);
}

static void on_stream_close(struct hbone_stream *st, uint32_t code)
{
	struct relay *r = container_of(st, struct relay, stream);

	if (r->replay && !r->is_app_broken && r->ops->on_unanswered &&
	    r->ops->on_unanswered(r, code)) {
		relay_rewind(r);
		return;
	}
	flush_pending(r);
	/* Told to stop sending after a whole answer is a good end as well. Without END_STREAM it is
	 * none, whatever the code: some versions of Envoy say NO_ERROR when they break off. */
	if (r->is_stream_eof && (code == HBONE_NO_ERROR || code == HBONE_CANCEL)) {
		r->is_stream_over = true;
		if (!r->is_app_broken && r->is_connected && buf_len(&r->pending) > 0)
			return;
		if (r->is_connected) {
			shut_when_drained(r);
			finish(r, 0, code);
			return;
		}
	}
	finish(r, -ECONNRESET, code);
}

const struct hbone_stream_ops relay_stream_ops = {
	.on_response = on_stream_response,
	.on_read = on_stream_read,
	.on_data = on_stream_data,
	.on_eof = on_stream_eof,
	.on_close = on_stream_close,
};

static void on_app_error(struct relay *r)
{
	/* With the FIN read nothing looks at the socket any more: end it from here. */
	r->is_hup = true;
	r->is_readable = true;
	if (loop_timer_set(r->loop, &r->linger, r->is_app_eof ? 1 : LINGER_US) < 0)
		r->is_app_broken = true;
}

void relay_on_event(struct loop_fd *w, uint32_t events)
{
	struct relay *r = container_of(w, struct relay, app);

	if (events & EPOLLERR)
		on_app_error(r);
	if (events & EPOLLPRI)
		r->is_urgent = true;
	if (events & (EPOLLRDHUP | EPOLLHUP))
		r->is_hup = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		r->is_readable = !r->is_app_eof;
		hbone_stream_resume(&r->stream);
	}
	if (events & EPOLLOUT) {
		r->is_writable = true;
		drain(r);
	}
}

void relay_init(struct relay *r, struct loop *loop, const struct relay_ops *ops)
{
	r->loop = loop;
	r->ops = ops;
	r->app.fd = -EBADF;
	r->linger.on_timer = on_linger;
	r->drain.on_task = on_drain;
	r->pending.limit = 2 * HBONE_STREAM_WINDOW;
}

int relay_watch(struct relay *r, int fd, bool is_connected,
		void (*on_event)(struct loop_fd *w, uint32_t events))
{
	int k;

	r->app.fd = fd;
	r->app.on_event = on_event;
	r->is_connected = is_connected;
	r->is_writable = is_connected;
	k = loop_add(r->loop, &r->app,
		     EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET | (is_connected ? 0 : EPOLLOUT));
	if (k < 0)
		r->app.fd = -EBADF;
	return k;
}

void relay_connected(struct relay *r)
{
	r->is_connected = true;
	r->is_writable = true;
	r->app.on_event = relay_on_event;
	flush_pending(r);
	shut_when_drained(r);
}

void relay_let_go(struct relay *r)
{
	/* A stream after a refused one may not have had all that was said to that: it was held, or
	 * its tunnel is full. */
	if (r->replay && r->replay->pos < buf_len(&r->replay->said))
		r->replay->is_last = true;
	else
		replay_free(r);
	if (!r->is_held)
		return;
	r->is_held = false;
	hbone_stream_resume(&r->stream);
}

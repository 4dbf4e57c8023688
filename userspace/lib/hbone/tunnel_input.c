/* SPDX-License-Identifier: Apache-2.0 */
/* What a tunnel's peer sends. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/reserve.h"
#include "hbone/tunnel_internal.h"
#include "tls/identity.h"

/* rest() - once all that was read is worked off, count it, and read nothing for a while where it
 * was too many tiny frames. */
static void rest(struct hbone_tunnel *t)
{
	struct pace_heard all;
	uint32_t rest_us;

	if (buf_len(&t->held) > 0)
		return;
	all.bytes = t->pace.last.bytes + t->read;
	all.frames = hbone_session_frames(t->session);
	all.repeats = hbone_session_repeats(t->session);
	rest_us = pace_heard(&t->pace, &all, loop_now_us(t->loop));
	t->read = 0;
	if (rest_us > 0 && t->state == TUNNEL_OPEN)
		(void)loop_timer_set(t->loop, &t->rest, rest_us);
}

static void input_failed(struct hbone_tunnel *t, int error)
{
	/* GOAWAY with the reason is queued: try to get it out. */
	(void)tunnel_flush_round(t);
	tunnel_fail(t, error, "HTTP/2 protocol error");
}

/* take_plain() - @n bytes of plain_in, after those that are held. Return: false when it failed. */
static bool take_plain(struct hbone_tunnel *t, size_t n)
{
	uint8_t *p = t->scratch->plain_in;
	bool is_first = buf_len(&t->held) == 0;
	ssize_t done = is_first ? hbone_session_recv_some(t->session, p, n) : 0;
	int r = done < 0 ? (int)done : 0;

	if (r == 0 && (size_t)done < n && t->state == TUNNEL_OPEN)
		r = buf_append(&t->held, p + done, n - (size_t)done);
	if (r == -ENOMEM && is_first && done >= 0)
		r = hbone_session_recv(t->session, p + done, n - (size_t)done);
	if (r < 0)
		input_failed(t, r);
	return r == 0;
}

/* take_input() - everything in the shared buffer goes through OpenSSL to the session; nothing may
 * stay behind. */
static void take_input(struct hbone_tunnel *t)
{
	int more = 1;

	t->read = t->scratch->cipher_in_len;
	while (more == 1 && t->state == TUNNEL_OPEN) {
		size_t len = 0;

		more = scratch_decrypt(t->scratch, t->tls, &len, &t->is_peer_closed);
		if (len > 0 && !take_plain(t, len))
			return;
	}
	rest(t);
	if (tunnel_flush_cipher(t) < 0 || more < 0) {
		char text[TUNNEL_TEXT_MAX];

		(void)tls_error_text(t->tls->ssl, text, sizeof(text));
		tunnel_fail(t, more < 0 ? more : -EPROTO, text[0] != '\0' ? text : "TLS error");
	}
}

static void on_peer_closed(struct hbone_tunnel *t)
{
	bool is_idle = t->session && hbone_session_is_idle(t->session);

	tunnel_fail(t, is_idle ? 0 : -ECONNRESET, is_idle ? "" : "the peer closed the connection");
}

static void busy_count(struct hbone_tunnel *t)
{
	if (t->reads < TUNNEL_BUSY_READS && ++t->reads == TUNNEL_BUSY_READS && reserve_is_whole())
		(void)SSL_clear_mode(t->tls->ssl, SSL_MODE_RELEASE_BUFFERS);
}

/* taken() - what has come is worked off, or the rest of it is held: that of a flood would else keep
 * who waits for this processor waiting, for as long as the kernel lets us. */
static void taken(struct hbone_tunnel *t)
{
	if (buf_len(&t->held) > 0 && t->state == TUNNEL_OPEN) {
		loop_task_queue(t->loop, &t->more);
		loop_yield(t->loop);
	} else if (t->is_peer_closed) {
		on_peer_closed(t);
	} else if (t->session && t->state == TUNNEL_OPEN && hbone_session_is_done(t->session)) {
		loop_task_queue(t->loop, &t->flush);
	}
	tunnel_arm(t);
}

void tunnel_more(struct loop_task *task)
{
	struct hbone_tunnel *t = container_of(task, struct hbone_tunnel, more);
	ssize_t n;

	scratch_forget_errors();
	n = hbone_session_recv_some(t->session, buf_head(&t->held), buf_len(&t->held));
	if (n < 0) {
		input_failed(t, (int)n);
		return;
	}
	buf_consume(&t->held, (size_t)n);
	if (buf_len(&t->held) == 0)
		buf_reset(&t->held);
	rest(t);
	taken(t);
}

/* take() - what is in cipher_in. */
static void take(struct hbone_tunnel *t)
{
	scratch_forget_errors();
	take_input(t);
	/* Nothing of ours may be left for another tunnel to read. */
	t->scratch->cipher_in_len = t->scratch->cipher_in_pos = 0;
	taken(t);
}

void tunnel_read_behind(struct hbone_tunnel *t, const struct buf *behind)
{
	struct hbone_scratch *s = t->scratch;

	s->cipher_in_len = buf_len(behind);
	s->cipher_in_pos = 0;
	memcpy(s->cipher_in, buf_head(behind), s->cipher_in_len);
	take(t);
}

void tunnel_read(struct hbone_tunnel *t)
{
	struct hbone_scratch *s = t->scratch;
	size_t room = pace_room(&t->pace, SCRATCH_READ_MAX);
	ssize_t n = recv(t->watch.fd, s->cipher_in, room, MSG_DONTWAIT);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			tunnel_fail(t, -errno, strerror(errno));
		return;
	}
	if (n == 0) {
		on_peer_closed(t);
		return;
	}
	s->cipher_in_len = (size_t)n;
	s->cipher_in_pos = 0;
	t->recv_us = loop_now_us(t->loop);
	busy_count(t);
	take(t);
}

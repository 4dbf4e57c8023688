/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "hbone/tunnel_internal.h"
#include "net/tcp.h"
#include "tls/identity.h"

/* Unsent bytes: one round of data, or what a peer that does not read makes us answer. */
#define UNSENT_MAX (SCRATCH_CIPHER_MAX + 1024 * 1024)
/* Buffers filled and written per turn, so that one busy tunnel does not starve the loop. */
#define ROUNDS_MAX 4
/* Streams of a tunnel from a peer that end with it in one turn: an application's connection takes
 * as long to close as some messages, and a peer may have 200 of them in each of many tunnels. */
#define CLOSES_MAX 4
/* An answer that nobody waits for goes along with what comes within this time. */
#define LATER_US (10 * 1000ULL)
/* Control frames that may wait for a peer that does not read before we stop reading from it. */
#define QUEUED_MAX 1000

void tunnel_fail(struct hbone_tunnel *t, int error, const char *text)
{
	if (t->state == TUNNEL_CLOSING)
		return;
	t->state = TUNNEL_CLOSING;
	if ((t->rest.loop || hbone_session_is_wasteful(t->session)) &&
	    (error == -ECONNRESET || error == -EPIPE)) {
		error = -ECONNABORTED;
		text = "the peer broke off in a flood";
	}
	t->error = error;
	if (error == -ENOMEM) {
		text = "out of memory";
		hbone_session_lost(t->session, HBONE_NO_MEMORY);
	}
	text = error == -EDQUOT ? "the peer floods" : text;
	(void)snprintf(t->text, sizeof(t->text), "%.*s", TUNNEL_TEXT_MAX - 1, text);
	loop_timer_del(&t->timer);
	loop_timer_del(&t->later);
	loop_timer_del(&t->rest);
	loop_task_del(&t->flush);
	loop_task_del(&t->more);
	if (t->watch.loop)
		(void)loop_set(&t->watch, 0);
	loop_task_queue(t->loop, &t->close);
}

void tunnel_arm(struct hbone_tunnel *t)
{
	uint32_t events = 0;

	if (t->state == TUNNEL_CLOSING)
		return;
	if (!t->is_peer_closed && !t->rest.loop && buf_len(&t->held) == 0 &&
	    (!t->session || buf_len(&t->unsent) == 0 ||
	     hbone_session_queued(t->session) < QUEUED_MAX))
		events |= EPOLLIN;
	if (buf_len(&t->unsent) > 0)
		events |= EPOLLOUT;
	(void)loop_set(&t->watch, events);
}

int tunnel_flush_cipher(struct hbone_tunnel *t)
{
	return scratch_send(t->scratch, t->watch.fd, &t->unsent);
}

int tunnel_flush_round(struct hbone_tunnel *t)
{
	size_t n = 0;
	int r, sent;

	r = hbone_session_send(t->session, t->scratch->plain_out, SCRATCH_WRITE_MAX, &n);
	if (r == 0 && n > 0)
		r = scratch_encrypt(t->scratch, t->tls, t->scratch->plain_out, n);
	/* After a failure, too: another tunnel would send what is left here. */
	sent = tunnel_flush_cipher(t);
	if (r == 0)
		r = sent;
	return r < 0 ? r : n > 0;
}

static void on_session_output(void *arg)
{
	struct hbone_tunnel *t = arg;

	if (t->state == TUNNEL_OPEN && buf_len(&t->unsent) == 0)
		loop_task_queue(t->loop, &t->flush);
}

static void on_session_output_later(void *arg)
{
	struct hbone_tunnel *t = arg;

	if (t->state == TUNNEL_OPEN && !t->later.loop &&
	    loop_timer_set(t->loop, &t->later, LATER_US) < 0)
		on_session_output(t);
}

static void on_flush(struct loop_task *task)
{
	struct hbone_tunnel *t = container_of(task, struct hbone_tunnel, flush);
	int r = 1;

	if (t->state != TUNNEL_OPEN)
		return;
	if (!scratch_can_keep(t->scratch)) {
		on_session_output_later(t); /* when there may be memory again */
		return;
	}
	scratch_forget_errors();
	for (int i = 0; i < ROUNDS_MAX && r == 1 && buf_len(&t->unsent) == 0; i++)
		r = tunnel_flush_round(t);
	if (r < 0) {
		tunnel_fail(t, r, "write failed");
		return;
	}
	if (buf_len(&t->unsent) == 0) {
		if (hbone_session_is_done(t->session)) {
			r = hbone_session_fault(t->session);
			tunnel_fail(t, r, r < 0 ? "HTTP/2 protocol error" : "");
			return;
		}
		if (r == 1)
			loop_task_queue(t->loop, &t->flush);
	}
	tunnel_arm(t);
}

static void on_later(struct loop_timer *timer)
{
	on_session_output(container_of(timer, struct hbone_tunnel, later));
}

static void on_rested(struct loop_timer *timer)
{
	tunnel_arm(container_of(timer, struct hbone_tunnel, rest));
}

static void on_session_goaway(void *arg)
{
	struct hbone_tunnel *t = arg;

	if (t->ops->on_goaway && !t->is_abandoned)
		t->ops->on_goaway(t->arg);
}

static int on_session_connect(void *arg, int32_t id, const struct hbone_head *head)
{
	struct hbone_tunnel *t = arg;

	if (t->state != TUNNEL_OPEN || t->is_abandoned)
		return -ESHUTDOWN;
	return t->ops->on_connect(t->arg, id, head);
}

static const struct hbone_session_ops session_ops = {
	.on_connect = on_session_connect,
	.on_output = on_session_output,
	.on_goaway = on_session_goaway,
	.on_output_later = on_session_output_later,
};

/* tunnel_open() - the handshake is done. */
static void tunnel_open(struct hbone_tunnel *t)
{
	const unsigned char *alpn;
	unsigned int alpn_len;
	const char *refusal;
	int r;

	/* The certificate was looked at earlier: it may have been revoked since. */
	r = tls_peer_refusal(t->tls->ssl, &refusal);
	if (r < 0) {
		tunnel_fail(t, r, refusal);
		return;
	}
	SSL_get0_alpn_selected(t->tls->ssl, &alpn, &alpn_len);
	if (alpn_len != 2 || memcmp(alpn, "h2", 2) != 0) {
		tunnel_fail(t, -EPROTO, "the peer did not choose h2");
		return;
	}
	r = hbone_session_new(t->is_server, &session_ops, t, &t->session);
	if (r < 0) {
		tunnel_fail(t, r, "out of memory");
		return;
	}
	t->state = TUNNEL_OPEN;
	t->stage = HBONE_STAGE_OPEN;
	t->recv_us = loop_now_us(t->loop);
	(void)loop_timer_set(t->loop, &t->timer, t->ping_interval_us);
	loop_task_queue(t->loop, &t->flush);
	if (t->ops->on_ready && !t->is_abandoned)
		t->ops->on_ready(t->arg);
}

/* shake() - the handshake begins, and has socket and TLS from now on. Return: 0; -errno. */
static int shake(struct hbone_tunnel *t)
{
	const struct handshake_config config = {
		.tunnel = t,
		.desk = t->desk,
		.loop = t->loop,
		.scratch = t->scratch,
		.tls = t->tls,
		.fd = t->watch.fd,
		.share = t->share,
	};
	int r = handshake_new(&config, &t->handshake);

	if (r < 0)
		return r;
	t->tls = NULL;
	t->watch.fd = -EBADF;
	return 0;
}

/* take_over() - socket and TLS are the tunnel's again. Return: 0; -errno. */
static int take_over(struct hbone_tunnel *t, struct tunnel_handshake *h)
{
	size_t limit = t->unsent.limit;

	t->tls = TAKE_PTR(h->tls);
	t->watch.fd = h->watch.fd;
	h->watch.fd = -EBADF;
	t->unsent = h->unsent;
	t->unsent.limit = limit;
	h->unsent = (struct buf){0};
	scratch_use(t->scratch, t->tls);
	return loop_add(t->loop, &t->watch, EPOLLIN);
}

static void shaken(struct hbone_tunnel *t, struct tunnel_handshake *h)
{
	int r = h->error;

	if (r == 0)
		r = take_over(t, h);
	if (r < 0) {
		tunnel_fail(t, r, h->error < 0 ? h->text : strerror(-r));
		return;
	}
	tunnel_open(t);
	tunnel_arm(t);
	if (t->state == TUNNEL_OPEN && buf_len(&h->behind) > 0)
		tunnel_read_behind(t, &h->behind);
}

void tunnel_shaken(struct hbone_tunnel *t, struct tunnel_handshake *h)
{
	if (t->state != TUNNEL_HANDSHAKE)
		return; /* goes with the tunnel, in this turn */
	t->handshake = NULL;
	shaken(t, h);
	handshake_release(h);
}

/* busy_tick() - a PING interval is over. OpenSSL gives its buffers back with the next record that
 * passes through it, which none may for long; what it has of one that is not all here stays. */
static void busy_tick(struct hbone_tunnel *t)
{
	if (t->reads < TUNNEL_BUSY_READS) {
		(void)SSL_set_mode(t->tls->ssl, SSL_MODE_RELEASE_BUFFERS);
		if (!t->tls->is_mid)
			(void)SSL_free_buffers(t->tls->ssl);
	}
	t->reads = t->tls->messages = 0;
}

static void on_connected(struct hbone_tunnel *t)
{
	int r = tcp_connect_result(t->watch.fd);

	if (r < 0) {
		tunnel_fail(t, r, strerror(-r));
		return;
	}
	t->state = TUNNEL_HANDSHAKE;
	t->stage = HBONE_STAGE_TLS;
	(void)loop_timer_set(t->loop, &t->timer, HBONE_HANDSHAKE_TIMEOUT_US);
	loop_del(&t->watch);
	r = shake(t);
	if (r < 0)
		tunnel_fail(t, r, strerror(-r));
}

static void on_event(struct loop_fd *w, uint32_t events)
{
	struct hbone_tunnel *t = container_of(w, struct hbone_tunnel, watch);

	if (t->state == TUNNEL_CONNECTING) {
		on_connected(t);
		return;
	}
	if (events & EPOLLOUT && t->state != TUNNEL_CLOSING) {
		int r = scratch_send_kept(t->scratch, t->watch.fd, &t->unsent);

		if (r < 0)
			tunnel_fail(t, r, strerror(-r));
		else if (t->session && buf_len(&t->unsent) == 0)
			loop_task_queue(t->loop, &t->flush);
		tunnel_arm(t);
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	if (buf_len(&t->held) > 0)
		return;        /* first what has come already */
	else if (t->rest.loop) /* epoll says it whatever we watch for: nobody is there any more */
		tunnel_fail(t, -ECONNRESET, "");
	else if (t->state == TUNNEL_OPEN)
		tunnel_read(t);
}

static void ping_tick(struct hbone_tunnel *t)
{
	uint64_t now = loop_now_us(t->loop);

	busy_tick(t);
	if (hbone_session_is_ping_pending(t->session)) {
		/* Any byte proves that the peer lives; a PONG may wait behind much data. */
		if (now - MAX(t->ping_us, t->recv_us) >= t->pong_timeout_us) {
			(void)hbone_session_goaway(t->session, HBONE_NO_ERROR);
			(void)tunnel_flush_round(t);
			hbone_session_lost(t->session, HBONE_PEER_SILENT);
			tunnel_fail(t, -ETIMEDOUT, "the peer answers no PING");
			return;
		}
	} else {
		t->ping_us = now;
		(void)hbone_session_ping(t->session);
	}
	(void)loop_timer_set(t->loop, &t->timer, t->ping_interval_us);
}

static void on_timer(struct loop_timer *timer)
{
	struct hbone_tunnel *t = container_of(timer, struct hbone_tunnel, timer);

	switch (t->state) {
	case TUNNEL_CONNECTING:
		tunnel_fail(t, -ETIMEDOUT, "connect timed out");
		break;
	case TUNNEL_HANDSHAKE:
		tunnel_fail(t, -ETIMEDOUT, "TLS handshake timed out");
		break;
	case TUNNEL_OPEN:
		if (t->is_draining && !t->is_goaway_sent) {
			t->is_goaway_sent = true;
			(void)hbone_session_goaway(t->session, HBONE_NO_ERROR);
		}
		ping_tick(t);
		break;
	case TUNNEL_CLOSING:
		break;
	}
}

/* say_goodbye() - close_notify after a good end, as far as the socket takes it. */
static void say_goodbye(struct hbone_tunnel *t)
{
	if (t->stage != HBONE_STAGE_OPEN || t->error != 0 || buf_len(&t->unsent) > 0)
		return;
	scratch_forget_errors();
	(void)SSL_shutdown(t->tls->ssl);
	(void)tunnel_flush_cipher(t);
}

static void on_close(struct loop_task *task)
{
	struct hbone_tunnel *t = container_of(task, struct hbone_tunnel, close);

	if (t->is_server && t->session && !t->is_abandoned &&
	    hbone_session_close_some(t->session, CLOSES_MAX)) {
		loop_task_queue(t->loop, &t->close);
		return;
	}
	t->session = hbone_session_free(t->session);
	say_goodbye(t);
	loop_timer_del(&t->timer);
	loop_timer_del(&t->later);
	loop_task_del(&t->flush);
	loop_del(&t->watch);
	buf_reset(&t->held);
	t->handshake = handshake_free(t->handshake);
	scratch_tls_free(t->tls);
	(void)close_fd(t->watch.fd);
	if (!t->is_abandoned)
		t->ops->on_closed(t->arg, t->stage, t->error, t->text);
	scratch_drop_kept(t->scratch, &t->unsent);
	t->scratch->cipher_out_len = 0;
	free(t);
}

/* begin() - Return: 0; -errno: @ssl and the socket are the caller's. */
static int begin(struct hbone_tunnel *t, SSL *ssl)
{
	int r = scratch_tls_new(t->scratch, ssl, &t->tls);

	if (r < 0)
		return r;
	if (t->is_server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	r = loop_timer_set(t->loop, &t->timer, HBONE_CONNECT_TIMEOUT_US);
	if (r == 0)
		r = t->is_server ? shake(t) : loop_add(t->loop, &t->watch, EPOLLOUT);
	if (r < 0) {
		loop_timer_del(&t->timer);
		free(t->tls);
	}
	return r;
}

int hbone_tunnel_new(const struct hbone_tunnel_config *config, struct hbone_tunnel **ret)
{
	_cleanup_(freep) struct hbone_tunnel *t = NULL;
	int r;

	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->loop = config->loop;
	t->scratch = config->scratch;
	t->desk = config->desk;
	t->share = config->share;
	t->is_server = config->is_server;
	t->ops = config->ops;
	t->arg = config->arg;
	t->ping_interval_us =
		config->ping_interval_us ? config->ping_interval_us : HBONE_PING_INTERVAL_US;
	t->pong_timeout_us =
		config->pong_timeout_us ? config->pong_timeout_us : HBONE_PONG_TIMEOUT_US;
	t->unsent.limit = UNSENT_MAX;
	t->watch.fd = config->fd;
	t->watch.on_event = on_event;
	t->timer.on_timer = on_timer;
	t->later.on_timer = on_later;
	t->rest.on_timer = on_rested;
	t->flush.on_task = on_flush;
	t->more.on_task = tunnel_more;
	t->close.on_task = on_close;
	t->state = t->is_server ? TUNNEL_HANDSHAKE : TUNNEL_CONNECTING;
	t->stage = t->is_server ? HBONE_STAGE_TLS : HBONE_STAGE_CONNECT;
	r = begin(t, config->ssl);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

struct hbone_session *hbone_tunnel_session(struct hbone_tunnel *t)
{
	return t->state == TUNNEL_OPEN ? t->session : NULL;
}

bool hbone_tunnel_is_blocked(const struct hbone_tunnel *t)
{
	return buf_len(&t->unsent) > 0;
}

int hbone_tunnel_peer_identity(struct hbone_tunnel *t, char *ret, size_t size)
{
	return tls_peer_identity(t->tls->ssl, ret, size);
}

int hbone_tunnel_refusal(const struct hbone_tunnel *t, const char **ret_text)
{
	return t->state == TUNNEL_OPEN ? tls_peer_refusal(t->tls->ssl, ret_text) : 0;
}

void hbone_tunnel_drain(struct hbone_tunnel *t)
{
	if (t->state == TUNNEL_CONNECTING || t->state == TUNNEL_HANDSHAKE) {
		tunnel_fail(t, -ESHUTDOWN, "draining");
		return;
	}
	if (t->state != TUNNEL_OPEN || t->is_draining)
		return;
	t->is_draining = true;
	if (!t->is_server) {
		t->is_goaway_sent = true;
		(void)hbone_session_goaway(t->session, HBONE_NO_ERROR);
		return;
	}
	(void)hbone_session_shutdown_notice(t->session);
	(void)loop_timer_set(t->loop, &t->timer, HBONE_NOTICE_US);
}

void hbone_tunnel_close(struct hbone_tunnel *t, int error, const char *text)
{
	tunnel_fail(t, error, text);
}

void hbone_tunnel_abandon(struct hbone_tunnel *t)
{
	t->is_abandoned = true;
	tunnel_fail(t, 0, "");
}

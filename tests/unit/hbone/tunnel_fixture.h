/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* tunnel_fixture - two ends of a tunnel in one loop over a socket pair; the server echoes. */
#include "hbone/tunnel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/loop.h"
#include "hbone/handshaker.h"
#include "hbone/scratch.h"
#include "tests/unit/hbone/certs.h"
#include "tls/identity.h"

#define CLIENT "spiffe://cluster.local/ns/a/sa/client"
#define SERVER "spiffe://cluster.local/ns/b/sa/server"
#define TURNS  2000

/* One end of a stream; the server's echoes. */
struct end {
	struct hbone_stream st;
	size_t to_send, sent, received;
	bool is_echo, is_eof, is_closed;
	uint32_t code;
};

struct side {
	struct hbone_tunnel *t;
	struct end end;
	bool is_ready, is_goaway, is_closed;
	enum hbone_stage stage;
	int error;
	char text[256];
};

struct fixture {
	struct loop *loop;
	struct hbone_scratch *scratch;
	struct hbone_handshaker *handshaker; /* NULL, as the next: in the loop */
	struct hbone_desk *desk;
	uint64_t share; /* of the next tunnel */
	const struct tls_identity *client_id, *server_id, *stranger_id;
	struct side client, server;
	int client_fd; /* of the tunnel: borrowed */
	SSL *ssl;      /* the client's, likewise */
	uint64_t ping_interval_us, pong_timeout_us;
};

static ssize_t on_read(struct hbone_stream *st, uint8_t *p, size_t n)
{
	struct end *e = container_of(st, struct end, st);

	n = MIN(n, e->to_send - e->sent);
	if (n == 0)
		return e->is_eof && e->is_echo ? 0 : -EAGAIN;
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((e->sent + i) * 7);
	e->sent += n;
	return (ssize_t)n;
}

static void on_data(struct hbone_stream *st, const struct iovec *iov, int n_iov, size_t len)
{
	struct end *e = container_of(st, struct end, st);

	for (int i = 0; i < n_iov; i++)
		for (size_t k = 0; k < iov[i].iov_len; k++)
			assert_int_equal(((uint8_t *)iov[i].iov_base)[k],
					 (uint8_t)(e->received++ * 7));
	hbone_stream_consume(st, len);
	if (e->is_echo) {
		e->to_send += len;
		hbone_stream_resume(st);
	}
}

static void on_eof(struct hbone_stream *st)
{
	struct end *e = container_of(st, struct end, st);

	e->is_eof = true;
	hbone_stream_resume(st);
}

static void on_stream_close(struct hbone_stream *st, uint32_t code)
{
	struct end *e = container_of(st, struct end, st);

	assert_false(e->is_closed);
	e->is_closed = true;
	e->code = code;
}

static void on_response(struct hbone_stream *st, const struct hbone_head *head)
{
	assert_int_equal(head->status, 200);
}

static const struct hbone_stream_ops stream_ops = {on_response, on_read, on_data, on_eof,
						   on_stream_close};

static int on_connect(void *arg, int32_t id, const struct hbone_head *head)
{
	struct side *s = arg;

	s->end.is_echo = true;
	assert_int_equal(hbone_stream_bind(hbone_tunnel_session(s->t), &s->end.st, &stream_ops, id),
			 0);
	return hbone_stream_respond(&s->end.st, 200, NULL);
}

static void on_ready(void *arg)
{
	((struct side *)arg)->is_ready = true;
}

static void on_goaway(void *arg)
{
	((struct side *)arg)->is_goaway = true;
}

static void on_closed(void *arg, enum hbone_stage stage, int error, const char *text)
{
	struct side *s = arg;

	assert_false(s->is_closed);
	s->is_closed = true;
	s->stage = stage;
	s->error = error;
	strncpy(s->text, text, sizeof(s->text) - 1);
	s->t = NULL;
}

static const struct hbone_tunnel_ops tunnel_ops = {on_connect, on_ready, on_goaway, on_closed};

static void start_side(struct fixture *f, struct side *s, int fd, SSL *ssl, bool is_server)
{
	const struct hbone_tunnel_config c = {.loop = f->loop,
					      .scratch = f->scratch,
					      .desk = f->desk,
					      .share = f->share,
					      .fd = fd,
					      .ssl = ssl,
					      .is_server = is_server,
					      .ops = &tunnel_ops,
					      .arg = s,
					      .ping_interval_us = f->ping_interval_us,
					      .pong_timeout_us = f->pong_timeout_us};

	assert_non_null(ssl);
	assert_int_equal(hbone_tunnel_new(&c, &s->t), 0);
}

static SSL *client_ssl(const struct tls_identity *id, const char *expected)
{
	SSL *ssl = SSL_new(id->client_ctx);

	assert_int_equal(tls_expect_identities(ssl, &expected, 1), 0);
	return ssl;
}

static void start_as(struct fixture *f, const struct tls_identity *who, const char *expected)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	f->client_fd = fds[0];
	f->ssl = client_ssl(who, expected);
	start_side(f, &f->client, fds[0], f->ssl, false);
	start_side(f, &f->server, fds[1], SSL_new(f->server_id->server_ctx), true);
}

#define run_until(f, condition)                                                                    \
	do {                                                                                       \
		for (int _i = 0; _i < TURNS && !(condition); _i++)                                 \
			assert_int_equal(loop_run_once((f)->loop, 5), 0);                          \
		assert_true(condition);                                                            \
	} while (0)

static void start(struct fixture *f)
{
	start_as(f, f->client_id, SERVER);
	run_until(f, f->client.is_ready && f->server.is_ready);
}

static void open_stream(struct fixture *f, size_t to_send)
{
	const struct hbone_connect c = {.authority = "10.0.0.1:80"};

	f->client.end.to_send = to_send;
	assert_int_equal(hbone_stream_open(hbone_tunnel_session(f->client.t), &f->client.end.st,
					   &stream_ops, &c),
			 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct certs_root *root = certs_root_new(), *other = certs_root_new();

	assert_non_null(f);
	f->client_id = certs_identity(root, CLIENT);
	f->server_id = certs_identity(root, SERVER);
	f->stranger_id = certs_identity(other, CLIENT);
	certs_root_free(root);
	certs_root_free(other);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(hbone_scratch_new(&f->scratch), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->client.t)
		hbone_tunnel_abandon(f->client.t);
	if (f->server.t)
		hbone_tunnel_abandon(f->server.t);
	for (int i = 0; i < 3; i++)
		(void)loop_run_once(f->loop, 0);
	hbone_desk_free(f->desk);
	hbone_handshaker_free(f->handshaker);
	hbone_scratch_free(f->scratch);
	loop_free(f->loop);
	(void)tls_identity_unref(f->client_id);
	(void)tls_identity_unref(f->server_id);
	(void)tls_identity_unref(f->stranger_id);
	free(f);
	return 0;
}

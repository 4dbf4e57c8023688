/* SPDX-License-Identifier: Apache-2.0 */
#include "http/grpc_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"
#include "net/addr.h"
#include "net/tcp.h"
#include "tls/identity.h"

#define READ_BYTES      (64 * 1024)
#define READS_MAX       8
#define CONN_WINDOW     (4 * 1024 * 1024)
#define PING_US         (30 * 1000000ULL)
#define PONG_TIMEOUT_US (10 * 1000000ULL)
/* From the begin of connect(2) to a server's SETTINGS: an address behind which nobody is any more
 * swallows SYNs, and the next attempt may be led elsewhere. */
#define GREETING_US   (5 * 1000000ULL)
#define OUT_LOW_BYTES (64 * 1024)

DEFINE_CLEANUP(nghttp2_session_callbacks *, nghttp2_session_callbacks_del);
DEFINE_CLEANUP(nghttp2_option *, nghttp2_option_del);

static void call_free(struct grpc_call *c)
{
	grpc_call_clear_headers(c);
	loop_timer_del(&c->deadline);
	buf_reset(&c->rx);
	buf_reset(&c->tx);
	free(c->finish_message);
	free(c);
}

static void graveyard_sweep(struct grpc_conn *conn)
{
	struct grpc_call *c, *tmp;

	list_for_each_entry_safe (c, tmp, &conn->graveyard, link) {
		/* a finished server call lives until its trailers have left */
		if (c->stream_id > 0 && !conn->is_freed && !conn->is_dead)
			continue;
		list_del(&c->link);
		call_free(c);
	}
}

static void conn_free_now(struct grpc_conn *conn)
{
	struct grpc_call *c, *tmp;

	list_for_each_entry_safe (c, tmp, &conn->calls, link)
		grpc_call_bury(c);
	loop_task_del(&conn->flush_task);
	loop_task_del(&conn->read_task);
	loop_timer_del(&conn->ping_timer);
	loop_del(&conn->w);
	SSL_free(conn->ssl);
	(void)close_fd(conn->w.fd);
	nghttp2_session_del(conn->session);
	graveyard_sweep(conn);
	buf_reset(&conn->out);
	free(conn);
}

void grpc_conn_free(struct grpc_conn *conn)
{
	struct grpc_call *c, *tmp;

	if (!conn)
		return;
	list_for_each_entry_safe (c, tmp, &conn->calls, link)
		grpc_call_bury(c);
	conn->is_freed = true;
	if (conn->depth == 0)
		conn_free_now(conn);
}

void grpc_conn_enter(struct grpc_conn *conn)
{
	conn->depth++;
}

void grpc_conn_leave(struct grpc_conn *conn)
{
	if (--conn->depth > 0)
		return;
	if (conn->is_freed)
		conn_free_now(conn);
	else
		graveyard_sweep(conn);
}

static const char *death_text(const struct grpc_conn *conn, int error, char *buf, size_t size)
{
	const char *why = *conn->why ? conn->why : error < 0 ? strerror(-error) : "";

	(void)snprintf(buf, size, "connection lost%s%s", *why ? ": " : "", why);
	return buf;
}

/* The connection is dead: end the calls, then tell the owner. Call between enter and leave. */
static void conn_die(struct grpc_conn *conn, int error)
{
	char text[512];

	if (conn->is_dead || conn->is_freed)
		return;
	conn->is_dead = true;
	loop_del(&conn->w);
	loop_timer_del(&conn->ping_timer);
	while (!conn->is_freed && !list_is_empty(&conn->calls))
		grpc_call_end(list_entry(conn->calls.next, struct grpc_call, link),
			      GRPC_UNAVAILABLE, death_text(conn, error, text, sizeof(text)));
	if (!conn->is_freed)
		conn->ops->on_closed(conn, error);
}

/* What an SSL call that did nothing means. Return: -EAGAIN; -ECONNRESET end of file; -EPROTO. */
static int ssl_error(struct grpc_conn *conn, int n)
{
	int error = SSL_get_error(conn->ssl, n);

	if (error == SSL_ERROR_WANT_WRITE)
		conn->is_write_wanted = true;
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (error == SSL_ERROR_ZERO_RETURN)
		return -ECONNRESET;
	if (error == SSL_ERROR_SSL)
		(void)tls_error_text(conn->ssl, conn->why, sizeof(conn->why));
	ERR_clear_error();
	return error == SSL_ERROR_SYSCALL && errno ? -errno : -EPROTO;
}

/* Return: bytes, > 0; -EAGAIN; -errno. */
static ssize_t transport_send(struct grpc_conn *conn, const void *data, size_t len)
{
	ssize_t n;

	if (conn->ssl) {
		errno = 0;
		n = SSL_write(conn->ssl, data, (int)MIN(len, (size_t)INT_MAX));
		return n > 0 ? n : ssl_error(conn, (int)n);
	}
	n = send(conn->w.fd, data, len, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

/* Return: bytes, > 0; -EAGAIN; -ECONNRESET end of file; -errno. */
static ssize_t transport_recv(struct grpc_conn *conn, void *data, size_t len)
{
	ssize_t n;

	if (conn->ssl) {
		errno = 0;
		n = SSL_read(conn->ssl, data, (int)len);
		return n > 0 ? n : ssl_error(conn, (int)n);
	}
	n = recv(conn->w.fd, data, len, 0);
	if (n == 0)
		return -ECONNRESET;
	return n < 0 ? -errno : n;
}

/* Return: 0 all written; -EAGAIN the rest waits in conn->out; -errno the connection is dead. */
static int out_write(struct grpc_conn *conn)
{
	while (buf_len(&conn->out) > 0) {
		ssize_t n = transport_send(conn, buf_head(&conn->out), buf_len(&conn->out));

		if (n < 0)
			return n == -EINTR ? 0 : (int)n;
		buf_consume(&conn->out, (size_t)n);
	}
	buf_reset(&conn->out);
	return 0;
}

/* Gather frames until it is worth a system call. Return: bytes waiting; -errno. */
static int out_fill(struct grpc_conn *conn)
{
	while (buf_len(&conn->out) < OUT_LOW_BYTES) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(conn->session, &data);
		int r;

		if (n < 0)
			return -EPROTO;
		if (n == 0)
			break;
		r = buf_append(&conn->out, data, (size_t)n);
		if (r < 0)
			return r;
	}
	return buf_len(&conn->out) > 0;
}

/* TLS may wait for the other side before it can write. */
static bool is_out_waiting(const struct grpc_conn *conn, int r)
{
	return conn->ssl ? conn->is_write_wanted : r == -EAGAIN;
}

static int conn_write(struct grpc_conn *conn)
{
	int r;

	if (conn->w.fd < 0)
		return 0;
	do {
		r = out_fill(conn);
		if (r <= 0)
			break;
		r = out_write(conn);
	} while (r == 0);
	if (r == -EAGAIN || r == 0)
		r = loop_set(&conn->w, EPOLLIN | (is_out_waiting(conn, r) ? EPOLLOUT : 0u));
	if (r == 0 && !nghttp2_session_want_read(conn->session) &&
	    !nghttp2_session_want_write(conn->session) && buf_len(&conn->out) == 0)
		return -ECONNABORTED;
	return r;
}

static void conn_flush(struct grpc_conn *conn)
{
	int r;

	grpc_conn_enter(conn);
	if (!conn->is_dead && !conn->is_freed) {
		r = conn_write(conn);
		if (r < 0)
			conn_die(conn, r);
	}
	grpc_conn_leave(conn);
}

static void on_flush_task(struct loop_task *t)
{
	conn_flush(container_of(t, struct grpc_conn, flush_task));
}

void grpc_conn_kick(struct grpc_conn *conn)
{
	if (!conn->is_dead && !conn->is_freed)
		loop_task_queue(conn->loop, &conn->flush_task);
}

/* is_more_likely() - after a read of @n bytes. Once the peer is known TLS takes from the socket
 * what is there, and not the head of a record first: a message costs one system call instead of
 * three. */
static bool is_more_likely(struct grpc_conn *conn, size_t n)
{
	if (!conn->ssl)
		return n == READ_BYTES;
	SSL_set_read_ahead(conn->ssl, 1);
	return n == SSL3_RT_MAX_PLAIN_LENGTH || SSL_has_pending(conn->ssl);
}

/* Return: 1 more may be there; 0 nothing now; -errno; -ECONNRESET end of file. */
static int conn_read(struct grpc_conn *conn)
{
	uint8_t data[READ_BYTES];
	ssize_t n = transport_recv(conn, data, sizeof(data));
	ssize_t used;

	if (n < 0)
		return n == -EAGAIN || n == -EINTR ? 0 : (int)n;
	conn->is_alive = true;
	used = nghttp2_session_mem_recv(conn->session, data, (size_t)n);
	if (used < 0)
		return used == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
	return is_more_likely(conn, (size_t)n);
}

/* A few rounds only: other watches have their turn. Return: as conn_read(). */
static int conn_read_some(struct grpc_conn *conn)
{
	int r = 1;

	for (int i = 0; i < READS_MAX && r > 0 && !conn->is_freed && !conn->is_dead; i++)
		r = conn_read(conn);
	/* the socket does not tell of what it has no more */
	if (r > 0 && conn->ssl && !conn->is_freed && !conn->is_dead)
		loop_task_queue(conn->loop, &conn->read_task);
	return r;
}

static void conn_go_on(struct grpc_conn *conn, int r)
{
	if (r < 0)
		conn_die(conn, r == -ECONNRESET ? 0 : r);
	else
		conn_flush(conn);
}

static void on_read_task(struct loop_task *t)
{
	struct grpc_conn *conn = container_of(t, struct grpc_conn, read_task);

	grpc_conn_enter(conn);
	if (!conn->is_freed && !conn->is_dead)
		conn_go_on(conn, conn_read_some(conn));
	grpc_conn_leave(conn);
}

static void on_conn_event(struct loop_fd *w, uint32_t events)
{
	struct grpc_conn *conn = container_of(w, struct grpc_conn, w);
	int r = 0;

	grpc_conn_enter(conn);
	if (events & EPOLLOUT)
		conn->is_write_wanted = false;
	/* With TLS it is TCP, and the first event may be about the connect. */
	if (events & EPOLLERR && conn->ssl)
		r = tcp_connect_result(w->fd);
	if (r == 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = conn_read_some(conn);
	conn_go_on(conn, r);
	grpc_conn_leave(conn);
}

static void on_ping_timer(struct loop_timer *t)
{
	struct grpc_conn *conn = container_of(t, struct grpc_conn, ping_timer);

	grpc_conn_enter(conn);
	if (conn->is_stranger || (conn->is_ping_open && !conn->is_alive)) {
		conn_die(conn, -ETIMEDOUT);
	} else if (conn->is_ping_open) {
		conn->is_ping_open = false;
		(void)loop_timer_set(conn->loop, t, PING_US);
	} else {
		conn->is_ping_open = true;
		conn->is_alive = false;
		http_blocks_renew(&conn->blocks);
		(void)nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL);
		(void)loop_timer_set(conn->loop, t, PONG_TIMEOUT_US);
		conn_flush(conn);
	}
	grpc_conn_leave(conn);
}

static struct grpc_call *call_of(nghttp2_session *session, int32_t stream_id)
{
	struct grpc_call *c = nghttp2_session_get_stream_user_data(session, stream_id);

	return c && !c->is_over ? c : NULL;
}

void grpc_call_served(struct grpc_call *c)
{
	http_blocks_earn(&c->conn->blocks, c->block_len);
	c->block_len = 0;
}

/* Before anything of the frame is unpacked. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *user_data)
{
	struct grpc_conn *conn = user_data;
	/* nobody may ever send a promise, and nghttp2 unpacks it all the same */
	bool is_fine = head->type != NGHTTP2_PUSH_PROMISE;

	if (head->type == NGHTTP2_HEADERS || head->type == NGHTTP2_CONTINUATION)
		is_fine = http_blocks_begin(&conn->blocks, head) == HTTP_BLOCK_FINE;
	if (is_fine)
		return 0;
	(void)str_copy(conn->why, sizeof(conn->why), "too many bytes of headers");
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct grpc_conn *conn = user_data;
	struct grpc_call *c;

	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (!conn->is_server || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (conn->n_calls >= GRPC_CALLS_MAX || grpc_call_new(conn, &c) < 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	c->stream_id = frame->hd.stream_id;
	(void)nghttp2_session_set_stream_user_data(session, c->stream_id, c);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *user_data)
{
	struct grpc_call *c = call_of(session, frame->hd.stream_id);

	if (!c)
		return 0;
	if (grpc_call_add_header(c, name, name_len, value, value_len) < 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct grpc_conn *conn = user_data;
	bool is_end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct grpc_call *c;

	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	c = call_of(session, frame->hd.stream_id);
	if (c && frame->hd.type == NGHTTP2_HEADERS) {
		c->block_len = conn->blocks.len;
		conn->ops->on_headers(c, is_end);
	}
	c = is_end ? call_of(session, frame->hd.stream_id) : NULL;
	if (c)
		conn->ops->on_peer_end(c);
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
			 const uint8_t *data, size_t len, void *user_data)
{
	const struct grpc_conn *conn = user_data;
	struct grpc_call *c = call_of(session, stream_id);

	if (c)
		grpc_call_receive(c, data, len);
	/* a call that is held may say no more than its window lets it; others go on */
	if (!conn->is_server)
		return 0;
	if (c && !c->is_over && c->is_held) {
		c->held_bytes += (uint32_t)len;
		return nghttp2_session_consume_connection(session, len);
	}
	return nghttp2_session_consume(session, stream_id, len);
}

/* What a reset means to the user: gRPC over HTTP/2, "Errors". */
static enum grpc_status status_of_reset(uint32_t code)
{
	switch (code) {
	case NGHTTP2_REFUSED_STREAM:
		return GRPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return GRPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return GRPC_PERMISSION_DENIED;
	default:
		return GRPC_INTERNAL;
	}
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code,
			   void *user_data)
{
	struct grpc_call *c = nghttp2_session_get_stream_user_data(session, stream_id);

	if (!c)
		return 0;
	/* the stream's memory goes: nothing may look it up again */
	c->stream_id = -1;
	if (!c->is_over)
		grpc_call_end(c, status_of_reset(code), "stream reset");
	return 0;
}

static int callbacks_new(nghttp2_session_callbacks **ret)
{
	if (nghttp2_session_callbacks_new(ret) != 0)
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_begin_frame_callback(*ret, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(*ret, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(*ret, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(*ret, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(*ret, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_send_callback(*ret, grpc_call_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(*ret, on_stream_close);
	return 0;
}

static int session_new(struct grpc_conn *conn)
{
	_cleanup_(nghttp2_session_callbacks_delp) nghttp2_session_callbacks *callbacks = NULL;
	_cleanup_(nghttp2_option_delp) nghttp2_option *option = NULL;
	/* the last two are the client's to send: ENABLE_PUSH always is, and a server opens the
	 * window of a call when that is let in */
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, GRPC_CALLS_MAX},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GRPC_HEADERS_MAX},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, GRPC_STREAM_WINDOW},
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
	};
	int r = callbacks_new(&callbacks);

	if (r < 0 || nghttp2_option_new(&option) != 0)
		return -ENOMEM;
	nghttp2_option_set_max_outbound_ack(option, 100);
	nghttp2_option_set_no_closed_streams(option, 1);
	/* what ends in a space is ours to refuse, with a status: "Bearer " without a token */
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(option, 1);
	nghttp2_option_set_no_auto_window_update(option, conn->is_server);
	r = conn->is_server ? nghttp2_session_server_new2(&conn->session, callbacks, conn, option)
			    : nghttp2_session_client_new2(&conn->session, callbacks, conn, option);
	if (r != 0 ||
	    nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings,
				    ARRAY_SIZE(settings) - (conn->is_server ? 2 : 0)) != 0 ||
	    nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0,
						  CONN_WINDOW) != 0)
		return -ENOMEM;
	return 0;
}

static void peer_read(struct grpc_conn *conn)
{
	struct sockaddr_storage sa;
	socklen_t cred_len = sizeof(struct ucred), len = sizeof(sa);
	struct cv_sockaddr from;
	struct ucred cred;

	if (getsockopt(conn->w.fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len) == 0)
		conn->peer = (struct grpc_peer){.uid = cred.uid, .pid = cred.pid};
	if (getpeername(conn->w.fd, (struct sockaddr *)&sa, &len) == 0 &&
	    cv_sockaddr_from_native((const struct sockaddr *)&sa, len, &from) == 0)
		conn->peer.addr = from.addr;
}

int grpc_conn_attach(struct grpc_conn *conn, int fd, SSL *ssl)
{
	int flags = fcntl(fd, F_GETFL);
	int r;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	if (ssl && !SSL_set_fd(ssl, fd))
		return -ENOMEM;
	/* the greeting is awaited as a PING's answer is */
	conn->is_ping_open = !conn->is_server;
	r = loop_timer_set(conn->loop, &conn->ping_timer, conn->is_server ? PING_US : GREETING_US);
	if (r < 0)
		return r;
	conn->w.fd = fd;
	r = loop_add(conn->loop, &conn->w, EPOLLIN | (ssl ? EPOLLOUT : 0u));
	if (r < 0) {
		conn->w.fd = -EBADF;
		return r;
	}
	conn->ssl = ssl;
	peer_read(conn);
	grpc_conn_kick(conn);
	return 0;
}

void grpc_conn_fail(struct grpc_conn *conn, int error, const char *why)
{
	(void)str_copy(conn->why, sizeof(conn->why), why);
	grpc_conn_enter(conn);
	conn_die(conn, error);
	grpc_conn_leave(conn);
}

int grpc_conn_new(struct loop *loop, bool is_server, const struct grpc_conn_ops *ops,
		  struct grpc_conn **ret)
{
	struct grpc_conn *conn = calloc(1, sizeof(*conn));
	int r;

	if (!conn)
		return -ENOMEM;
	conn->loop = loop;
	conn->ops = ops;
	conn->is_server = is_server;
	conn->w.fd = -EBADF;
	conn->w.on_event = on_conn_event;
	conn->flush_task.on_task = on_flush_task;
	conn->read_task.on_task = on_read_task;
	conn->ping_timer.on_timer = on_ping_timer;
	list_init(&conn->link);
	list_init(&conn->calls);
	list_init(&conn->graveyard);
	conn->blocks = (struct http_blocks){.max = GRPC_BLOCKS_MAX, .one_max = GRPC_BLOCK_MAX};
	http_blocks_renew(&conn->blocks);
	/* nobody: an address family without credentials */
	conn->peer = (struct grpc_peer){.uid = (uid_t)-1, .pid = -1};
	r = session_new(conn);
	if (r < 0) {
		conn_free_now(conn);
		return r;
	}
	*ret = conn;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/grpc_conn.h"

#define PREFIX_BYTES    5 /* gRPC's length-prefixed message: flag, length in network order */
#define QUEUE_BYTES_MAX (256u * 1024 * 1024)
#define PERCENT_MAX     1024

int grpc_call_new(struct grpc_conn *conn, struct grpc_call **ret)
{
	struct grpc_call *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->conn = conn;
	c->stream_id = -1;
	c->tx.limit = QUEUE_BYTES_MAX;
	list_add_tail(&conn->calls, &c->link);
	conn->n_calls++;
	*ret = c;
	return 0;
}

void grpc_call_bury(struct grpc_call *c)
{
	if (c->is_over)
		return;
	c->is_over = true;
	loop_timer_del(&c->deadline);
	list_del(&c->link);
	list_add_tail(&c->conn->graveyard, &c->link);
	c->conn->n_calls--;
}

void grpc_call_end(struct grpc_call *c, int status, const char *message)
{
	struct grpc_conn *conn = c->conn;

	if (c->is_over)
		return;
	grpc_call_bury(c);
	grpc_conn_enter(conn);
	if (c->ops && c->ops->on_end)
		c->ops->on_end(c, c->arg, status, message);
	grpc_conn_leave(conn);
}

/* Forget the stream: nghttp2 must not reach a call that will be freed. */
static void stream_forget(struct grpc_call *c)
{
	if (c->stream_id > 0 && !c->conn->is_dead)
		(void)nghttp2_session_set_stream_user_data(c->conn->session, c->stream_id, NULL);
	c->stream_id = -1;
}

void grpc_call_reset(struct grpc_call *c, uint32_t code)
{
	int32_t id = c->stream_id;

	if (id <= 0 || c->conn->is_dead || c->conn->is_freed)
		return;
	stream_forget(c);
	(void)nghttp2_submit_rst_stream(c->conn->session, NGHTTP2_FLAG_NONE, id, code);
	grpc_conn_kick(c->conn);
}

void grpc_call_cancel(struct grpc_call *c)
{
	struct grpc_conn *conn = c->conn;

	if (c->is_over)
		return;
	grpc_conn_enter(conn);
	grpc_call_reset(c, NGHTTP2_CANCEL);
	grpc_call_bury(c);
	grpc_conn_leave(conn);
}

static int response_submit(struct grpc_call *c)
{
	static const nghttp2_nv nv[] = {
		{(uint8_t *)":status", (uint8_t *)"200", 7, 3, 0},
		{(uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16, 0},
	};
	nghttp2_data_provider provider = {.read_callback = grpc_call_read};

	if (nghttp2_submit_response(c->conn->session, c->stream_id, nv, ARRAY_SIZE(nv),
				    &provider) != 0)
		return -ENOMEM;
	c->has_sent_headers = true;
	return 0;
}

static int call_wake(struct grpc_call *c)
{
	int r = 0;

	if (c->conn->is_server && !c->has_sent_headers)
		r = response_submit(c);
	else
		(void)nghttp2_session_resume_data(c->conn->session, c->stream_id);
	grpc_conn_kick(c->conn);
	return r;
}

int grpc_call_send(struct grpc_call *c, const void *data, size_t len)
{
	uint8_t prefix[PREFIX_BYTES] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
					(uint8_t)(len >> 8), (uint8_t)len};
	int r;

	if (c->is_over || c->is_ended || c->conn->is_dead || c->conn->is_freed)
		return -EPIPE;
	if (len > QUEUE_BYTES_MAX)
		return -ENOBUFS;
	r = buf_reserve(&c->tx, sizeof(prefix) + len);
	if (r < 0)
		return r;
	memcpy(buf_tail(&c->tx), prefix, sizeof(prefix));
	if (len > 0)
		memcpy(buf_tail(&c->tx) + sizeof(prefix), data, len);
	buf_produce(&c->tx, sizeof(prefix) + len);
	return call_wake(c);
}

void grpc_call_half_close(struct grpc_call *c)
{
	if (c->is_over || c->is_ended)
		return;
	c->is_ended = true;
	(void)call_wake(c);
}

/* gRPC over HTTP/2: grpc-message is percent-encoded outside of printable ASCII. */
static void percent_encode(const char *s, char *ret, size_t size)
{
	size_t n = 0;

	for (; *s && n + 4 < size; s++) {
		unsigned char ch = (unsigned char)*s;

		if (ch >= 0x20 && ch <= 0x7e && ch != '%')
			ret[n++] = (char)ch;
		else
			n += (size_t)snprintf(ret + n, size - n, "%%%02X", ch);
	}
	ret[n] = '\0';
}

static size_t trailers_make(const struct grpc_call *c, char status[12], char *message,
			    nghttp2_nv nv[2])
{
	(void)snprintf(status, 12, "%d", (int)c->finish_status);
	nv[0] = (nghttp2_nv){(uint8_t *)"grpc-status", (uint8_t *)status, 11, strlen(status), 0};
	if (!c->finish_message)
		return 1;
	percent_encode(c->finish_message, message, PERCENT_MAX);
	nv[1] = (nghttp2_nv){(uint8_t *)"grpc-message", (uint8_t *)message, 12, strlen(message), 0};
	return 2;
}

static void trailers_only_submit(struct grpc_call *c)
{
	char status[12], message[PERCENT_MAX];
	nghttp2_nv nv[4] = {
		{(uint8_t *)":status", (uint8_t *)"200", 7, 3, 0},
		{(uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16, 0},
	};
	size_t n = 2 + trailers_make(c, status, message, nv + 2);

	(void)nghttp2_submit_response(c->conn->session, c->stream_id, nv, n, NULL);
	grpc_conn_kick(c->conn);
}

void grpc_call_finish(struct grpc_call *c, enum grpc_status status, const char *message)
{
	struct grpc_conn *conn = c->conn;

	if (c->is_over || c->is_finishing)
		return;
	grpc_conn_enter(conn);
	c->is_finishing = true;
	c->is_ended = true;
	c->finish_status = status;
	c->finish_message = message ? strdup(message) : NULL;
	grpc_call_bury(c);
	if (!conn->is_dead && !conn->is_freed) {
		if (c->has_sent_headers)
			(void)call_wake(c);
		else
			trailers_only_submit(c);
	}
	grpc_conn_leave(conn);
}

void grpc_call_set_ops(struct grpc_call *c, const struct grpc_call_ops *ops, void *arg)
{
	c->ops = ops;
	c->arg = arg;
}

const char *grpc_call_metadata(const struct grpc_call *c, const char *name)
{
	return grpc_call_header(c, name);
}

static void source_end(struct grpc_call *c, uint32_t *data_flags)
{
	char status[12], message[PERCENT_MAX];
	nghttp2_nv nv[2];
	size_t n;

	*data_flags |= NGHTTP2_DATA_FLAG_EOF;
	if (!c->is_finishing)
		return;
	*data_flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	n = trailers_make(c, status, message, nv);
	(void)nghttp2_submit_trailer(c->conn->session, c->stream_id, nv, n);
}

/* nghttp2's signature */
/* NOLINTNEXTLINE(readability-function-size) */
ssize_t grpc_call_read(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t len,
		       uint32_t *data_flags, nghttp2_data_source *source, void *user_data)
{
	struct grpc_call *c = nghttp2_session_get_stream_user_data(session, stream_id);
	size_t n;

	/* given up meanwhile: the reset is on its way */
	if (!c)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	n = MIN(len, buf_len(&c->tx));
	if (n > 0) {
		memcpy(buf, buf_head(&c->tx), n);
		buf_consume(&c->tx, n);
	}
	if (buf_len(&c->tx) == 0)
		buf_reset(&c->tx);
	if (c->is_ended && buf_len(&c->tx) == 0)
		source_end(c, data_flags);
	else if (n == 0)
		return NGHTTP2_ERR_DEFERRED;
	return (ssize_t)n;
}

/* nghttp2's signature. Whoever was answered before all was heard of it need not say the rest (RFC
 * 9113, 8.1); the stream would stay open until it has, and nothing makes it. */
int grpc_call_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	const struct grpc_conn *conn = user_data;
	int32_t id = frame->hd.stream_id;

	if (!conn->is_server || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
	    (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
	    nghttp2_session_get_stream_remote_close(session, id) != 0)
		return 0;
	return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR) == 0
		       ? 0
		       : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Give up on a call whose peer breaks the rules. */
static void call_fail(struct grpc_call *c, enum grpc_status status, const char *message)
{
	if (c->conn->is_server) {
		const struct grpc_call_ops *ops = c->ops;
		void *arg = c->arg;

		grpc_call_finish(c, status, message);
		if (ops && ops->on_end)
			ops->on_end(c, arg, (int)status, message);
		return;
	}
	grpc_call_reset(c, NGHTTP2_CANCEL);
	grpc_call_end(c, (int)status, message);
}

/* Return: true when one whole message was delivered. */
static bool message_deliver(struct grpc_call *c)
{
	size_t have = buf_len(&c->rx);
	const uint8_t *p;
	size_t len;

	if (have < PREFIX_BYTES)
		return false;
	p = buf_head(&c->rx);
	len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
	if (p[0] != 0) {
		call_fail(c, GRPC_UNIMPLEMENTED, "compressed message");
		return false;
	}
	if (len > c->max_message) {
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "message too large");
		return false;
	}
	if (have - PREFIX_BYTES < len)
		return false;
	if (c->ops && c->ops->on_message)
		c->ops->on_message(c, c->arg, p + PREFIX_BYTES, len);
	buf_consume(&c->rx, PREFIX_BYTES + len);
	return true;
}

void grpc_call_receive(struct grpc_call *c, const uint8_t *data, size_t len)
{
	struct grpc_conn *conn = c->conn;

	grpc_conn_enter(conn);
	if (buf_append(&c->rx, data, len) < 0)
		call_fail(c, GRPC_RESOURCE_EXHAUSTED, "out of memory");
	while (!c->is_over && !c->is_held && message_deliver(c))
		;
	if (!c->is_over && buf_len(&c->rx) == 0)
		buf_reset(&c->rx);
	grpc_conn_leave(conn);
}

void grpc_call_hold(struct grpc_call *c)
{
	c->is_held = true;
}

void grpc_call_open_window(struct grpc_call *c)
{
	nghttp2_session *session = c->conn->session;

	/* out of memory: it goes on in the window that there is, or its deadline ends it */
	(void)nghttp2_session_consume_stream(session, c->stream_id, c->held_bytes);
	(void)nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, c->stream_id,
						    GRPC_STREAM_WINDOW);
	c->held_bytes = 0;
	grpc_conn_kick(c->conn);
}

void grpc_call_go_on(struct grpc_call *c)
{
	struct grpc_conn *conn = c->conn;

	grpc_conn_enter(conn);
	c->is_held = false;
	conn->is_stranger &= c->is_over;
	if (!c->is_over) {
		grpc_call_served(c);
		grpc_call_open_window(c);
	}
	grpc_call_receive(c, (const uint8_t *)"", 0);
	if (!c->is_over && c->has_held_end)
		grpc_call_peer_end(c);
	grpc_conn_leave(conn);
}

void grpc_call_peer_end(struct grpc_call *c)
{
	c->has_held_end = c->is_held;
	if (!c->is_held && c->ops && c->ops->on_half_close)
		c->ops->on_half_close(c, c->arg);
}

int grpc_call_add_header(struct grpc_call *c, const uint8_t *name, size_t name_len,
			 const uint8_t *value, size_t value_len)
{
	struct grpc_header *h = &c->headers[c->n_headers];

	if (c->n_headers == GRPC_METADATA_MAX ||
	    c->header_bytes + name_len + value_len > GRPC_HEADERS_MAX)
		return -ENOBUFS;
	h->name = strndup((const char *)name, name_len);
	h->value = strndup((const char *)value, value_len);
	if (!h->name || !h->value) {
		free(h->name);
		free(h->value);
		return -ENOMEM;
	}
	c->n_headers++;
	c->header_bytes += name_len + value_len;
	return 0;
}

void grpc_call_clear_headers(struct grpc_call *c)
{
	for (size_t i = 0; i < c->n_headers; i++) {
		free(c->headers[i].name);
		free(c->headers[i].value);
	}
	c->n_headers = 0;
	c->header_bytes = 0;
}

const char *grpc_call_header(const struct grpc_call *c, const char *name)
{
	for (size_t i = 0; i < c->n_headers; i++)
		if (strcasecmp(c->headers[i].name, name) == 0)
			return c->headers[i].value;
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "http/grpc_conn.h"

#define METADATA_ARGS_MAX 16
#define FIXED_HEADERS     6
#define MESSAGE_MAX       1024
#define AUTHORITY_MAX     300

struct grpc_client {
	struct grpc_conn *conn;
	struct grpc_client_config config;
	char authority[AUTHORITY_MAX];
};

static int hex_value(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if (ch >= 'a' && ch <= 'f')
		return ch - 'a' + 10;
	return ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

static void percent_decode(const char *s, char *ret, size_t size)
{
	size_t n = 0;

	while (*s && n + 1 < size) {
		int hi = s[0] == '%' ? hex_value(s[1]) : -1;
		int lo = hi >= 0 ? hex_value(s[2]) : -1;

		ret[n++] = lo >= 0 ? (char)(hi << 4 | lo) : s[0];
		s += lo >= 0 ? 3 : 1;
	}
	ret[n] = '\0';
}

/* The trailers, or a trailers-only answer, decide. */
static void call_conclude(struct grpc_call *c)
{
	const char *status = grpc_call_header(c, "grpc-status");
	const char *message = grpc_call_header(c, "grpc-message");
	uint64_t code = GRPC_UNKNOWN;
	char text[MESSAGE_MAX];

	if (!status || str_parse_u64(status, 0, 16, &code) < 0)
		message = "answer without grpc-status";
	percent_decode(message ? message : "", text, sizeof(text));
	/* a stream that we have not ended stays open else */
	grpc_call_reset(c, NGHTTP2_NO_ERROR);
	grpc_call_end(c, (int)code, text);
}

static void on_headers(struct grpc_call *c, bool is_end)
{
	const char *status = grpc_call_header(c, ":status");
	const char *type = grpc_call_header(c, "content-type");

	grpc_call_served(c);
	if (is_end)
		return;
	if (!c->has_response && (!status || !streq(status, "200") || !type ||
				 !str_has_prefix(type, "application/grpc"))) {
		grpc_call_reset(c, NGHTTP2_CANCEL);
		grpc_call_end(c, GRPC_UNKNOWN, "not a gRPC answer");
		return;
	}
	c->has_response = true;
	grpc_call_clear_headers(c);
}

static void on_conn_closed(struct grpc_conn *conn, int error)
{
	struct grpc_client *client = conn->owner;

	if (client->config.on_closed)
		client->config.on_closed(client->config.arg, error);
}

static const struct grpc_conn_ops client_ops = {
	.on_headers = on_headers,
	.on_peer_end = call_conclude,
	.on_closed = on_conn_closed,
};

int grpc_client_new_pending(struct loop *loop, const struct grpc_client_config *config,
			    struct grpc_client **ret)
{
	_cleanup_(freep) struct grpc_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client)
		return -ENOMEM;
	client->config = *config;
	r = str_copy(client->authority, sizeof(client->authority),
		     config->authority ? config->authority : "localhost");
	if (r == 0)
		r = grpc_conn_new(loop, false, &client_ops, &client->conn);
	if (r < 0)
		return r;
	client->conn->owner = client;
	*ret = TAKE_PTR(client);
	return 0;
}

int grpc_client_attach(struct grpc_client *c, int fd, SSL *ssl)
{
	return grpc_conn_attach(c->conn, fd, ssl);
}

void grpc_client_fail(struct grpc_client *c, int error, const char *why)
{
	grpc_conn_fail(c->conn, error, why);
}

int grpc_client_new(struct loop *loop, int fd, void (*on_closed)(void *arg, int error), void *arg,
		    struct grpc_client **ret)
{
	const struct grpc_client_config config = {.on_closed = on_closed, .arg = arg};
	struct grpc_client *c;
	int r = grpc_client_new_pending(loop, &config, &c);

	if (r < 0)
		return r;
	r = grpc_client_attach(c, fd, NULL);
	if (r < 0) {
		(void)grpc_client_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct grpc_client *grpc_client_free(struct grpc_client *c)
{
	if (!c)
		return NULL;
	if (c->config.on_freed)
		c->config.on_freed(c->config.freed_arg);
	grpc_conn_free(c->conn);
	free(c);
	return NULL;
}

static void on_deadline(struct loop_timer *t)
{
	struct grpc_call *c = container_of(t, struct grpc_call, deadline);
	struct grpc_conn *conn = c->conn;

	grpc_conn_enter(conn);
	grpc_call_reset(c, NGHTTP2_CANCEL);
	grpc_call_end(c, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
	grpc_conn_leave(conn);
}

static nghttp2_nv nv_make(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
			    NGHTTP2_NV_FLAG_NONE};
}

static int request_submit(struct grpc_call *c, const struct grpc_call_config *config)
{
	const struct grpc_client *client = c->conn->owner;
	nghttp2_nv nv[FIXED_HEADERS + METADATA_ARGS_MAX + 1];
	nghttp2_data_provider provider = {.read_callback = grpc_call_read};
	char timeout[32];
	size_t n = 0;

	nv[n++] = nv_make(":method", "POST");
	nv[n++] = nv_make(":scheme", client->config.authority ? "https" : "http");
	nv[n++] = nv_make(":path", config->path);
	nv[n++] = nv_make(":authority", client->authority);
	nv[n++] = nv_make("content-type", "application/grpc");
	nv[n++] = nv_make("te", "trailers");
	for (size_t i = 0; i < config->n_metadata; i++)
		nv[n++] = nv_make(config->metadata[i].name, config->metadata[i].value);
	if (config->timeout_us > 0) {
		(void)snprintf(timeout, sizeof(timeout), "%" PRIu64 "m",
			       config->timeout_us / 1000 + 1);
		nv[n++] = nv_make("grpc-timeout", timeout);
	}
	c->stream_id = nghttp2_submit_request(c->conn->session, NULL, nv, n, &provider, c);
	return c->stream_id < 0 ? -ENOMEM : 0;
}

int grpc_client_call(struct grpc_client *client, const struct grpc_call_config *config,
		     struct grpc_call **ret)
{
	struct grpc_conn *conn = client->conn;
	struct grpc_call *c;
	int r;

	if (config->n_metadata > METADATA_ARGS_MAX || !config->ops)
		return -EINVAL;
	if (conn->is_dead || conn->is_freed)
		return -ENOTCONN;
	r = grpc_call_new(conn, &c);
	if (r < 0)
		return r;
	c->ops = config->ops;
	c->arg = config->arg;
	c->max_message = config->max_message;
	c->deadline.on_timer = on_deadline;
	r = request_submit(c, config);
	if (r == 0 && config->timeout_us > 0)
		r = loop_timer_set(conn->loop, &c->deadline, config->timeout_us);
	if (r < 0) {
		grpc_call_cancel(c);
		return r;
	}
	grpc_conn_kick(conn);
	*ret = c;
	return 0;
}

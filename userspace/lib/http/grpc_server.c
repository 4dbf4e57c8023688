/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/accept_pause.h"
#include "base/str.h"
#include "http/grpc_conn.h"

#define ACCEPT_BATCH 16

struct grpc_server {
	struct grpc_server_config config;
	struct loop_fd w;
	struct accept_pause accept_pause;
	struct list conns;
	size_t n_conns;
};

static const struct grpc_method *method_find(const struct grpc_server *s, const char *path)
{
	for (size_t i = 0; i < s->config.n_methods; i++)
		if (streq(s->config.methods[i].path, path))
			return &s->config.methods[i];
	return NULL;
}

static void on_headers(struct grpc_call *c, bool is_end)
{
	const char *method = grpc_call_header(c, ":method");
	const char *type = grpc_call_header(c, "content-type");
	const char *path = grpc_call_header(c, ":path");
	const struct grpc_method *m;

	/* trailers from a client mean nothing in gRPC */
	if (c->has_response)
		return;
	c->has_response = true;
	m = path ? method_find(c->conn->owner, path) : NULL;
	if (!method || !streq(method, "POST") || !type || !str_has_prefix(type, "application/grpc"))
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "not a gRPC request");
	else if (!m)
		grpc_call_finish(c, GRPC_UNIMPLEMENTED, "unknown method");
	if (!m || c->is_over)
		return;
	c->max_message = m->max_message;
	m->on_open(c, &c->conn->peer, m->arg);
	c->conn->is_stranger &= c->is_over || c->is_held;
	if (c->is_over || c->is_held)
		return;
	grpc_call_served(c);
	if (!is_end)
		grpc_call_open_window(c);
}

static void conn_drop(struct grpc_server *s, struct grpc_conn *conn)
{
	list_del(&conn->link);
	s->n_conns--;
	grpc_conn_free(conn);
}

static void on_conn_closed(struct grpc_conn *conn, int error)
{
	conn_drop(conn->owner, conn);
}

static const struct grpc_conn_ops server_ops = {
	.on_headers = on_headers,
	.on_peer_end = grpc_call_peer_end,
	.on_closed = on_conn_closed,
};

static int conn_attach(const struct grpc_server *s, struct grpc_conn *conn, int fd)
{
	SSL *ssl = NULL;
	int r;

	if (s->config.ssl_new) {
		ssl = s->config.ssl_new(s->config.arg);
		if (!ssl)
			return -ENOMEM;
		SSL_set_accept_state(ssl);
	}
	r = grpc_conn_attach(conn, fd, ssl);
	if (r < 0)
		SSL_free(ssl);
	return r;
}

/* Has it a call that was let in? */
static bool is_busy(const struct grpc_conn *conn)
{
	const struct grpc_call *c;

	list_for_each_entry (c, &conn->calls, link)
		if (c->has_response && !c->is_held)
			return true;
	return false;
}

/* They are in the order of their age. Return: whether there is room for one more. */
static bool room_make(struct grpc_server *s)
{
	struct grpc_conn *conn;

	if (s->n_conns < s->config.max_connections)
		return true;
	list_for_each_entry (conn, &s->conns, link)
		if (s->config.is_crowd_cut && !is_busy(conn)) {
			grpc_conn_fail(conn, -ECONNABORTED, "too many connections");
			return true;
		}
	return false;
}

int grpc_server_accept(struct grpc_server *s, int fd)
{
	struct grpc_conn *conn;
	int r;

	if (!room_make(s))
		return -ENOBUFS;
	r = grpc_conn_new(s->config.loop, true, &server_ops, &conn);
	if (r < 0)
		return r;
	conn->owner = s;
	conn->is_stranger = s->config.is_crowd_cut;
	r = conn_attach(s, conn, fd);
	if (r < 0) {
		grpc_conn_free(conn);
		return r;
	}
	if (s->config.is_allowed && !s->config.is_allowed(s->config.arg, &conn->peer)) {
		grpc_conn_free(conn);
		return 0;
	}
	list_add_tail(&s->conns, &conn->link);
	s->n_conns++;
	return 0;
}

static void on_listen_event(struct loop_fd *w, uint32_t events)
{
	struct grpc_server *s = container_of(w, struct grpc_server, w);

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			accept_pause_begin(&s->accept_pause, s->config.loop, w, errno);
			return;
		}
		if (grpc_server_accept(s, fd) < 0)
			(void)close_fd(fd);
	}
}

int grpc_server_new(const struct grpc_server_config *config, struct grpc_server **ret)
{
	_cleanup_(freep) struct grpc_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	list_init(&s->conns);
	s->w.fd = config->listen_fd;
	s->w.on_event = on_listen_event;
	if (s->w.fd >= 0) {
		r = loop_add(config->loop, &s->w, EPOLLIN);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

struct grpc_server *grpc_server_free(struct grpc_server *s)
{
	struct grpc_conn *conn, *tmp;

	if (!s)
		return NULL;
	accept_pause_end(&s->accept_pause);
	loop_del(&s->w);
	(void)close_fd(s->w.fd);
	list_for_each_entry_safe (conn, tmp, &s->conns, link)
		conn_drop(s, conn);
	free(s);
	return NULL;
}

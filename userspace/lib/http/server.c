/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "http/head.h"
#include "http/server_internal.h"

#define HEAD_MAX           8192
#define BODY_MAX           65536 /* request bodies are read and dropped */
#define REQUEST_TIMEOUT_US (10ULL * 1000000)
#define HANDLE_TIMEOUT_US  (60ULL * 1000000)
#define WRITE_TIMEOUT_US   (30ULL * 1000000)
#define LINGER_TIMEOUT_US  (1ULL * 1000000)
#define SEND_MAX           (1 << 20) /* at a time */
#define READ_BYTES         2048
#define HEARD_MAX          8     /* handshake, head and the beginning of a body */
#define RECORD_MAX         16384 /* bytes of a TLS record, RFC 8446, 5.1 */

static void conn_detach(struct conn *c)
{
	if (!c->server)
		return;
	loop_del(&c->watch);
	loop_timer_del(&c->timer);
	c->watch.fd = close_fd(c->watch.fd);
	list_del(&c->link);
	c->server->n_conns--;
	c->server->bodies -= c->body_reserved;
	if (c->server->crowd)
		crowd_leave(c->server->crowd, c);
	else if (!c->server->accept_pause.loop)
		(void)loop_set(&c->server->listener, EPOLLIN);
	c->server = NULL;
}

void http_conn_free(struct conn *c)
{
	buf_reset(&c->in);
	buf_reset(&c->out);
	buf_reset(&c->resp.body);
	SSL_free(c->ssl);
	free(c->head);
	free(c);
}

/* ssl_result() - what SSL_read() and SSL_write() mean, as recv() and send() say it. */
static ssize_t ssl_result(struct conn *c, int n)
{
	int why = n > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, n);

	ERR_clear_error();
	if (why == SSL_ERROR_NONE)
		return n;
	if (why == SSL_ERROR_ZERO_RETURN)
		return 0;
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
		(void)loop_set(&c->watch, why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
		errno = EINPROGRESS;
	} else {
		errno = EPROTO;
	}
	return -1;
}

static ssize_t conn_recv(struct conn *c, void *p, int n)
{
	return c->ssl ? ssl_result(c, SSL_read(c->ssl, p, n)) : recv(c->watch.fd, p, (size_t)n, 0);
}

static ssize_t conn_send(struct conn *c)
{
	size_t n = MIN(buf_len(&c->out), (size_t)SEND_MAX);

	return c->ssl ? ssl_result(c, SSL_write(c->ssl, buf_head(&c->out), (int)n))
		      : send(c->watch.fd, buf_head(&c->out), n, MSG_NOSIGNAL);
}

void http_conn_close(struct conn *c)
{
	conn_detach(c);
	if (c->state != CONN_STATE_DEFERRED)
		http_conn_free(c);
}

static const char *status_text(unsigned int status)
{
	static const struct {
		unsigned int status;
		const char *text;
	} texts[] = {
		{200, "OK"},
		{202, "Accepted"},
		{204, "No Content"},
		{400, "Bad Request"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{413, "Content Too Large"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{503, "Service Unavailable"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Status";
}

static void conn_linger(struct conn *c)
{
	c->state = CONN_STATE_LINGER;
	c->since_us = loop_now_us(c->server->loop);
	buf_reset(&c->out);
	if (c->ssl) {
		(void)SSL_shutdown(c->ssl);
		ERR_clear_error();
		SSL_free(c->ssl);
		c->ssl = NULL;
	}
	if (shutdown(c->watch.fd, SHUT_WR) < 0 || loop_set(&c->watch, EPOLLIN) < 0 ||
	    loop_timer_set(c->server->loop, &c->timer, LINGER_TIMEOUT_US) < 0)
		http_conn_close(c);
}

static void conn_write(struct conn *c)
{
	while (buf_len(&c->out) > 0) {
		ssize_t n = conn_send(c);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINPROGRESS)
			return;
		if (n < 0 && errno == EAGAIN) {
			if (loop_set(&c->watch, EPOLLOUT) < 0)
				http_conn_close(c);
			return;
		}
		if (n < 0) {
			http_conn_close(c);
			return;
		}
		buf_consume(&c->out, (size_t)n);
	}
	conn_linger(c);
}

static void conn_answer(struct conn *c)
{
	const struct http_response *resp = &c->resp;
	int r;

	c->state = CONN_STATE_WRITE;
	c->since_us = loop_now_us(c->server->loop);
	buf_reset(&c->in);
	r = buf_printf(&c->out,
		       "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		       "Connection: close\r\n\r\n",
		       resp->status, status_text(resp->status), resp->content_type,
		       buf_len(&resp->body));
	if (r == 0 && !c->is_head_method && buf_len(&resp->body) > 0)
		r = buf_append(&c->out, buf_head(&resp->body), buf_len(&resp->body));
	buf_reset(&c->resp.body);
	if (r < 0 || loop_timer_set(c->server->loop, &c->timer, WRITE_TIMEOUT_US) < 0) {
		http_conn_close(c);
		return;
	}
	conn_write(c);
}

static void conn_refuse(struct conn *c, unsigned int status)
{
	c->resp.status = status;
	(void)buf_printf(&c->resp.body, "%s\n", status_text(status));
	conn_answer(c);
}

static void conn_handle(struct conn *c, struct http_request *req)
{
	struct http_server *s = c->server;

	c->is_head_method = streq(req->method, "HEAD");
	if (c->is_head_method)
		req->method = "GET";
	s->config.handler(req, &c->resp, s->config.arg);
	if (c->is_deferred) {
		c->state = CONN_STATE_DEFERRED;
		if (loop_set(&c->watch, 0) < 0 ||
		    loop_timer_set(s->loop, &c->timer, HANDLE_TIMEOUT_US) < 0)
			conn_detach(c);
		return;
	}
	if (c->body_left == 0) {
		conn_answer(c);
		return;
	}
	c->state = CONN_STATE_BODY;
}

/* conn_drop_body() - the handler has answered; the body is still in the way. */
static void conn_drop_body(struct conn *c)
{
	size_t n = MIN(c->body_left, buf_len(&c->in));

	buf_consume(&c->in, n);
	c->body_left -= n;
	if (c->body_left == 0)
		conn_answer(c);
}

/* conn_body() - the body is gathered for the handler. */
static void conn_body(struct conn *c)
{
	if (buf_len(&c->in) < c->req.body_len)
		return;
	c->req.body = (const char *)buf_head(&c->in);
	c->body_left = 0;
	conn_handle(c, &c->req);
}

/* conn_want_body() - @copy, which the request points into, is taken. */
static void conn_want_body(struct conn *c, const struct http_head *h, char **copy)
{
	struct http_server *s = c->server;
	struct conn *old, *tmp;

	/* those that were promised longest ago and have not come go first */
	list_for_each_entry_safe (old, tmp, &s->conns, link)
		if (s->config.is_crowd_cut && old->state == CONN_STATE_WANTED &&
		    s->bodies + h->body_len > s->config.total_max)
			http_conn_close(old);
	if (s->bodies + h->body_len > s->config.total_max) {
		conn_refuse(c, 503);
		return;
	}
	s->bodies += h->body_len;
	c->body_reserved = h->body_len;
	c->head = TAKE_PTR(*copy);
	c->req = h->req;
	c->req.body_len = h->body_len;
	c->in.limit = h->body_len + HEAD_MAX + RECORD_MAX;
	c->state = CONN_STATE_WANTED;
	conn_body(c);
}

/* conn_parse() - try the head again after each read; it is short, so this is cheap. */
static void conn_parse(struct conn *c)
{
	_cleanup_(freep) char *copy = NULL;
	size_t wanted = c->server->config.body_max;
	struct http_head h = {.req.body = "", .body_max = wanted ? wanted : BODY_MAX};
	size_t len = buf_len(&c->in);
	const uint8_t *end = memmem(buf_head(&c->in), len, "\r\n\r\n", 4);
	unsigned int status;
	size_t n;

	if (!end && len < HEAD_MAX)
		return;
	n = end ? (size_t)(end - buf_head(&c->in)) : 0;
	if (!end || n > HEAD_MAX) {
		conn_refuse(c, 431);
		return;
	}
	if (memchr(buf_head(&c->in), '\0', n)) {
		conn_refuse(c, 400);
		return;
	}
	copy = strndup((const char *)buf_head(&c->in), n);
	status = copy ? http_head_parse(copy, &h) : 503;
	if (status > 0) {
		conn_refuse(c, status);
		return;
	}
	buf_consume(&c->in, n + 4);
	if (wanted && h.body_len > 0) {
		conn_want_body(c, &h, &copy);
		return;
	}
	c->body_left = h.body_len - MIN(h.body_len, buf_len(&c->in));
	buf_reset(&c->in);
	conn_handle(c, &h.req);
}

/* Byte by byte it would be idle never: there must be a record's worth for each so many times. */
bool http_conn_heard(struct conn *c)
{
	if (c->heard >= HEARD_MAX * (1 + buf_len(&c->in) / RECORD_MAX))
		return false;
	c->heard++;
	c->since_us = loop_now_us(c->server->loop);
	return true;
}

/* Over TLS a whole record each time: none of it stays where no event tells of it. */
static int conn_room(const struct conn *c)
{
	return c->ssl || c->state == CONN_STATE_WANTED ? RECORD_MAX : READ_BYTES;
}

static void conn_read(struct conn *c)
{
	int room = conn_room(c);
	ssize_t n;

	if (buf_reserve(&c->in, (size_t)room) < 0) {
		http_conn_close(c);
		return;
	}
	n = conn_recv(c, buf_tail(&c->in), room);
	if (c->state != CONN_STATE_LINGER)
		(void)http_conn_heard(c);
	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == EINPROGRESS))
		return;
	if (n <= 0) {
		http_conn_close(c);
		return;
	}
	if (c->state == CONN_STATE_LINGER)
		return;
	(void)loop_set(&c->watch, EPOLLIN);
	buf_produce(&c->in, (size_t)n);
	if (c->state == CONN_STATE_HEAD)
		conn_parse(c);
	else if (c->state == CONN_STATE_WANTED)
		conn_body(c);
	else
		conn_drop_body(c);
}

static void on_conn_event(struct loop_fd *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, watch);

	if (c->state == CONN_STATE_WRITE)
		conn_write(c);
	else if (c->state == CONN_STATE_DEFERRED)
		http_conn_close(c); /* only errors are reported here: the client has left */
	else
		conn_read(c);
}

static void on_conn_timer(struct loop_timer *t)
{
	http_conn_close(container_of(t, struct conn, timer));
}

static int conn_secure(const struct http_server *s, struct conn *c)
{
	if (!s->config.ssl_new)
		return 0;
	c->ssl = s->config.ssl_new(s->config.ssl_arg);
	if (!c->ssl || SSL_set_fd(c->ssl, c->watch.fd) != 1)
		return -ENOMEM;
	SSL_set_accept_state(c->ssl);
	return 0;
}

struct conn *http_conn_new(struct http_server *s, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->server = s;
	c->watch.fd = fd;
	c->watch.on_event = on_conn_event;
	c->timer.on_timer = on_conn_timer;
	c->in.limit = HEAD_MAX + 4096 + RECORD_MAX;
	c->resp.status = 200;
	c->resp.content_type = "text/plain; charset=utf-8";
	return c;
}

int http_conn_begin(struct conn *c)
{
	struct http_server *s = c->server;
	int r = conn_secure(s, c);

	if (r == 0)
		r = loop_timer_set(s->loop, &c->timer, REQUEST_TIMEOUT_US);
	if (r == 0)
		r = loop_add(s->loop, &c->watch, EPOLLIN);
	if (r < 0) {
		loop_timer_del(&c->timer);
		(void)close_fd(c->watch.fd);
		http_conn_free(c);
		return r;
	}
	c->state = CONN_STATE_HEAD;
	c->since_us = loop_now_us(s->loop);
	list_add_tail(&s->conns, &c->link);
	s->n_conns++;
	return 0;
}

static void on_accept_pause(struct loop_timer *t)
{
	struct http_server *s = container_of(t, struct http_server, accept_pause);

	if (s->config.is_crowd_cut || s->n_conns < CONNECTIONS_MAX)
		(void)loop_set(&s->listener, EPOLLIN);
}

/* Connections have run out: whoever ends lets others in, or the oldest goes. */
static void oldest_close(struct http_server *s)
{
	if (s->config.is_crowd_cut && s->n_conns == CONNECTIONS_MAX)
		http_conn_close(list_entry(s->conns.next, struct conn, link));
}

/* Return: 0: that was all that may come for now; -EMFILE, -ENFILE, -ENOMEM: not now. */
static int accept_all(struct http_server *s)
{
	oldest_close(s);
	while (s->n_conns < CONNECTIONS_MAX) {
		int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct conn *c = fd < 0 ? NULL : http_conn_new(s, fd);

		if (fd < 0)
			return -errno;
		if (!c)
			(void)close(fd);
		else
			(void)http_conn_begin(c);
	}
	if (!s->config.is_crowd_cut)
		(void)loop_set(&s->listener, 0);
	return 0;
}

static void on_accept(struct loop_fd *w, uint32_t events)
{
	struct http_server *s = container_of(w, struct http_server, listener);
	int r = s->crowd ? crowd_accept(s->crowd) : accept_all(s);

	if (r != -EMFILE && r != -ENFILE && r != -ENOMEM)
		return;
	/* The queue stays readable: without a pause this would spin. */
	(void)loop_set(w, 0);
	(void)loop_timer_set(s->loop, &s->accept_pause, ACCEPT_PAUSE_US);
}

int http_server_open(const struct http_server_config *config, struct http_server **ret)
{
	_cleanup_(freep) struct http_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->loop = config->loop;
	list_init(&s->conns);
	s->accept_pause.on_timer = on_accept_pause;
	s->listener.fd = config->listen_fd;
	s->listener.on_event = on_accept;
	r = config->crowd_us > 0 ? crowd_new(s) : 0;
	if (r == 0)
		r = loop_add(s->loop, &s->listener, EPOLLIN);
	if (r < 0) {
		crowd_free(s->crowd);
		return r;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

int http_server_new(struct loop *l, int listen_fd, http_handler *handler, void *arg,
		    struct http_server **ret)
{
	const struct http_server_config config = {
		.loop = l, .listen_fd = listen_fd, .handler = handler, .arg = arg};

	return http_server_open(&config, ret);
}

struct http_server *http_server_free(struct http_server *s)
{
	struct conn *c, *tmp;

	if (!s)
		return NULL;
	list_for_each_entry_safe (c, tmp, &s->conns, link)
		http_conn_close(c);
	crowd_free(s->crowd);
	loop_timer_del(&s->accept_pause);
	loop_del(&s->listener);
	(void)close_fd(s->listener.fd);
	free(s);
	return NULL;
}

void http_response_defer(struct http_response *resp)
{
	container_of(resp, struct conn, resp)->is_deferred = true;
}

void http_response_text(struct http_response *resp, unsigned int status, const char *text)
{
	resp->status = status;
	if (buf_append_str(&resp->body, text) < 0)
		resp->status = 500;
}

void http_response_finish(struct http_response *resp)
{
	struct conn *c = container_of(resp, struct conn, resp);

	if (!c->server)
		http_conn_free(c);
	else
		conn_answer(c);
}

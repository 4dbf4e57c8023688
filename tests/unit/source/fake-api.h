/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fake-api - an API server that says what a test tells it to, on 127.0.0.1, in the test's loop. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/loop.h"
#include "base/str.h"
#include "net/tcp.h"

#define FAKE_CONNS 64

struct fake_conn {
	struct loop_fd w;
	struct fake_api *api;
	char request[65536];
	size_t len;
};

struct fake_api {
	struct loop *loop;
	struct loop_fd listener;
	struct fake_conn conns[FAKE_CONNS];
	size_t n_conns;
	bool is_away;   /* each connection is closed without an answer */
	size_t n_tries; /* meanwhile */
	char url[64];
	/* what lists are answered with: the first page of a list, then the next */
	const char *pages[8];
	int list_status;
	size_t n_lists, n_watches;
	char last_list[1024], last_watch[1024], last_auth[256], last_accept[256];
	int watch_status; /* other than 200: the watch is refused with it */
	int watch_fd;     /* of the newest watch */
	/* NULL: lists and watches as above, nothing else is answered. Return: false: as above */
	bool (*on_request)(struct fake_api *a, int fd, const char *method, const char *path,
			   const char *body);
	void *arg; /* of its own */
};

static inline void fake_write(int fd, const char *text)
{
	size_t n = strlen(text);

	while (n > 0) {
		ssize_t k = send(fd, text, n, MSG_NOSIGNAL);

		if (k <= 0)
			return;
		text += k;
		n -= (size_t)k;
	}
}

static inline void fake_answer(int fd, int status, const char *body)
{
	char head[256];

	(void)snprintf(
		head, sizeof(head),
		"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
		status, strlen(body));
	fake_write(fd, head);
	fake_write(fd, body);
}

/* Bytes of the newest watch, as one chunk. */
static inline void fake_push(struct fake_api *a, const char *bytes)
{
	char head[32];

	(void)snprintf(head, sizeof(head), "%zx\r\n", strlen(bytes));
	fake_write(a->watch_fd, head);
	fake_write(a->watch_fd, bytes);
	fake_write(a->watch_fd, "\r\n");
}

/* The watch's time is over. */
static inline void fake_end(const struct fake_api *a)
{
	fake_write(a->watch_fd, "0\r\n\r\n");
}

/* The connection breaks. */
static inline void fake_cut(const struct fake_api *a)
{
	(void)shutdown(a->watch_fd, SHUT_RDWR);
}

static inline void fake_serve(struct fake_api *a, int fd, const char *path)
{
	if (strstr(path, "watch=1")) {
		(void)snprintf(a->last_watch, sizeof(a->last_watch), "%s", path);
		a->n_watches++;
		a->watch_fd = fd;
		if (a->watch_status != 200)
			fake_answer(fd, a->watch_status, "{\"message\":\"no\"}");
		else
			fake_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		return;
	}
	(void)snprintf(a->last_list, sizeof(a->last_list), "%s", path);
	if (a->list_status != 200) {
		a->n_lists++;
		fake_answer(fd, a->list_status, "{\"message\":\"because\"}");
		return;
	}
	fake_answer(fd, 200, a->n_lists < 8 && a->pages[a->n_lists] ? a->pages[a->n_lists] : "{}");
	a->n_lists++;
}

/* For on_request: it has API groups, which is how a client knows an API server. */
static inline bool fake_groups(struct fake_api *a, int fd, const char *method, const char *path,
			       const char *body)
{
	if (!streq(path, "/apis"))
		return false;
	fake_answer(fd, 200, "{\"kind\":\"APIGroupList\",\"groups\":[]}");
	return true;
}

static inline void fake_on_request(struct loop_fd *w, uint32_t events)
{
	struct fake_conn *c = container_of(w, struct fake_conn, w);
	ssize_t n = recv(w->fd, c->request + c->len, sizeof(c->request) - 1 - c->len, 0);
	char method[16], path[1024], *body;
	const char *auth, *length;

	if (n <= 0 || c->api->is_away) {
		c->api->n_tries += n > 0;
		loop_close(w);
		return;
	}
	c->len += (size_t)n;
	c->request[c->len] = '\0';
	body = strstr(c->request, "\r\n\r\n");
	length = strcasestr(c->request, "content-length: ");
	if (!body || (length && strlen(body + 4) < strtoul(length + 16, NULL, 10)))
		return;
	auth = strstr(c->request, "Accept: ");
	(void)snprintf(c->api->last_accept, sizeof(c->api->last_accept), "%.*s",
		       auth ? (int)strcspn(auth, "\r") : 0, auth ? auth : "");
	auth = strstr(c->request, "Authorization: ");
	c->api->last_auth[0] = '\0';
	if (auth)
		(void)snprintf(c->api->last_auth, sizeof(c->api->last_auth), "%.*s",
			       (int)strcspn(auth, "\r"), auth);
	c->len = 0;
	if (sscanf(c->request, "%15s %1023s", method, path) != 2)
		return;
	if (c->api->on_request && c->api->on_request(c->api, w->fd, method, path, body + 4))
		return;
	if (streq(method, "GET"))
		fake_serve(c->api, w->fd, path);
}

static inline void fake_on_accept(struct loop_fd *w, uint32_t events)
{
	struct fake_api *a = container_of(w, struct fake_api, listener);
	struct fake_conn *c = &a->conns[a->n_conns % FAKE_CONNS];

	a->n_conns++;
	memset(c, 0, sizeof(*c));
	c->api = a;
	c->w.fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
	c->w.on_event = fake_on_request;
	/* a fast clock (fast-clock.h) does not wait for what waits for an ACK */
	(void)setsockopt(c->w.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (c->w.fd < 0 || loop_add(a->loop, &c->w, EPOLLIN) < 0)
		abort();
}

static inline void fake_start(struct fake_api *a, struct loop *loop)
{
	struct sockaddr_in sa = {0};
	socklen_t len = sizeof(sa);
	struct cv_addr addr;
	int fd;

	memset(a, 0, sizeof(*a));
	a->loop = loop;
	a->list_status = a->watch_status = 200;
	if (cv_addr_parse("127.0.0.1", &addr) < 0 || tcp_listen(&addr, 0, &fd) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		abort();
	a->listener.fd = fd;
	a->listener.on_event = fake_on_accept;
	if (loop_add(loop, &a->listener, EPOLLIN) < 0)
		abort();
	(void)snprintf(a->url, sizeof(a->url), "http://127.0.0.1:%d", ntohs(sa.sin_port));
}

static inline void fake_stop(struct fake_api *a)
{
	loop_close(&a->listener);
	for (size_t i = 0; i < FAKE_CONNS; i++)
		if (a->conns[i].w.loop)
			loop_close(&a->conns[i].w);
}

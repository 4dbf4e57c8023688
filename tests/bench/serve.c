/* SPDX-License-Identifier: Apache-2.0 */
/* serve - the server that the load is put on. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/bench/loadgen.h"

#define SOURCE_PIECE 65536

struct conn {
	int fd;
	bool is_listening;
	enum service service;
	uint64_t bytes;
	unsigned int
		ending; /* HTTP: how much of the empty line that ends a request has been seen */
};

static const char http_answer[] =
	"HTTP/1.1 200 OK\r\nServer: loadgen\r\nContent-Type: text/plain\r\n"
	"Content-Length: 45\r\n\r\n"
	"0123456789012345678901234567890123456789abcd\n";

static void conn_close(struct conn *c)
{
	close(c->fd);
	free(c);
}

static void conn_add(int epoll_fd, int fd, enum service service, bool is_listening)
{
	struct conn *c = calloc(1, sizeof(*c));
	int one = 1;

	if (!c)
		die("calloc");
	*c = (struct conn){.fd = fd, .service = service, .is_listening = is_listening};
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	watch(epoll_fd, fd, c, service == SERVICE_SOURCE && !is_listening ? EPOLLOUT : EPOLLIN,
	      EPOLL_CTL_ADD);
}

static void listen_on(int epoll_fd, uint16_t port, enum service service)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, zero = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 4096) < 0)
		die("listen");
	conn_add(epoll_fd, fd, service, true);
}

static void on_connection(int epoll_fd, const struct conn *l)
{
	int fd;

	while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		conn_add(epoll_fd, fd, l->service, false);
}

/* One answer for each empty line. */
static bool http_serve(struct conn *c, const uint8_t *p, size_t n)
{
	static const char empty_line[] = "\r\n\r\n";

	for (size_t i = 0; i < n; i++) {
		if (p[i] == (uint8_t)empty_line[c->ending])
			c->ending++;
		else
			c->ending = p[i] == '\r';
		if (c->ending < 4)
			continue;
		c->ending = 0;
		if (!write_all(c->fd, http_answer, sizeof(http_answer) - 1))
			return false;
	}
	return true;
}

static bool answer(struct conn *c, size_t n)
{
	switch (c->service) {
	case SERVICE_SINK:
		return true;
	case SERVICE_HTTP:
		return http_serve(c, block, n);
	default:
		return write_all(c->fd, block, n);
	}
}

static void on_data(struct conn *c)
{
	ssize_t n = read(c->fd, block, sizeof(block));

	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0) {
		c->bytes += (uint64_t)n;
		if (answer(c, (size_t)n))
			return;
	} else if (n == 0 && c->service == SERVICE_SINK) {
		(void)write_all(c->fd, &c->bytes, sizeof(c->bytes));
	}
	conn_close(c);
}

/* A piece at a time, so that nobody else waits for long. */
static void on_room(struct conn *c)
{
	if (send(c->fd, block, SOURCE_PIECE, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		conn_close(c);
}

void serve(uint16_t port)
{
	struct epoll_event ev[MAX_EVENTS];
	int epoll_fd = epoll_create1(0);

	for (int i = 0; i < SERVICE_COUNT; i++)
		listen_on(epoll_fd, (uint16_t)(port + i), (enum service)i);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epoll_fd, ev, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = ev[i].data.ptr;

			if (c->is_listening)
				on_connection(epoll_fd, c);
			else if (c->service == SERVICE_SOURCE)
				on_room(c);
			else
				on_data(c);
		}
	}
}

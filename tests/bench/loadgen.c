/* SPDX-License-Identifier: Apache-2.0 */
/* loadgen - closed-loop TCP load for `make bench`: one thread, epoll, one JSON line as the result.
 *   loadgen serve PORT                      echo on PORT, sink on PORT+1, one byte per connection
 * on PORT+2 loadgen rr    HOST PORT CONNS SIZE SEC  round trips of SIZE bytes loadgen bulk  HOST
 * PORT CONNS SEC       one way to the sink; the sink's own byte count is what is reported loadgen
 * conn  HOST PORT CONNS SEC       connect, send a byte, get a byte, close; CONNS at once loadgen
 * idle  HOST PORT CONNS           hold idle connections until stdin ends
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/histogram.h"

#define BLOCK      (256 * 1024)
#define MAX_EVENTS 256

enum role { ROLE_LISTEN_ECHO, ROLE_LISTEN_SINK, ROLE_LISTEN_BYTE, ROLE_ECHO, ROLE_SINK, ROLE_BYTE };

struct conn {
	int fd;
	enum role role;
	uint64_t started_ns;
	uint64_t bytes; /* sink: received; client: of the current answer */
	bool is_waiting_eof;
};

struct client {
	int epoll_fd;
	struct sockaddr_storage to;
	socklen_t to_len;
	unsigned int conns;
	size_t size;
	uint64_t until_ns;
	uint64_t done;
	uint64_t failed;
	struct histogram latency;
};

static uint8_t block[BLOCK];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void watch(int epoll_fd, struct conn *c, uint32_t events, int op)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};

	if (epoll_ctl(epoll_fd, op, c->fd, &ev) < 0)
		die("epoll_ctl");
}

static struct conn *conn_new(int epoll_fd, int fd, enum role role, uint32_t events)
{
	struct conn *c = calloc(1, sizeof(*c));
	int one = 1;

	if (!c)
		die("calloc");
	c->fd = fd;
	c->role = role;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	watch(epoll_fd, c, events, EPOLL_CTL_ADD);
	return c;
}

static void conn_close(struct conn *c)
{
	close(c->fd);
	free(c);
}

/* Blocking-style write of a small answer; the peers of this tool never stop reading. */
static bool write_all(int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n > 0) {
		ssize_t w = send(fd, at, n, MSG_NOSIGNAL);

		if (w < 0 && errno == EAGAIN) {
			struct timespec ts = {.tv_nsec = 50000};

			nanosleep(&ts, NULL);
			continue;
		}
		if (w <= 0)
			return false;
		at += w;
		n -= (size_t)w;
	}
	return true;
}

static void listen_on(int epoll_fd, uint16_t port, enum role role)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, zero = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 4096) < 0)
		die("listen");
	conn_new(epoll_fd, fd, role, EPOLLIN);
}

static void serve_accept(int epoll_fd, struct conn *l)
{
	int fd;

	while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		conn_new(epoll_fd, fd, l->role + (ROLE_ECHO - ROLE_LISTEN_ECHO), EPOLLIN);
}

static void serve_read(struct conn *c)
{
	ssize_t n = read(c->fd, block, sizeof(block));

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		if (n == 0 && c->role == ROLE_SINK)
			(void)write_all(c->fd, &c->bytes, sizeof(c->bytes));
		conn_close(c);
		return;
	}
	c->bytes += (uint64_t)n;
	if (c->role != ROLE_SINK && !write_all(c->fd, block, (size_t)n))
		conn_close(c);
}

_Noreturn static void serve(uint16_t port)
{
	struct epoll_event ev[MAX_EVENTS];
	int epoll_fd = epoll_create1(0);

	listen_on(epoll_fd, port, ROLE_LISTEN_ECHO);
	listen_on(epoll_fd, port + 1, ROLE_LISTEN_SINK);
	listen_on(epoll_fd, port + 2, ROLE_LISTEN_BYTE);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epoll_fd, ev, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = ev[i].data.ptr;

			if (c->role < ROLE_ECHO)
				serve_accept(epoll_fd, c);
			else
				serve_read(c);
		}
	}
}

static int dial(const struct client *cl, bool is_blocking)
{
	int fd = socket(cl->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		die("socket");
	if (!is_blocking)
		(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)&cl->to, cl->to_len) < 0 && errno != EINPROGRESS)
		die("connect");
	return fd;
}

static void rr_send(struct client *cl, struct conn *c)
{
	c->started_ns = now_ns();
	c->bytes = 0;
	if (!write_all(c->fd, block, cl->size))
		die("send");
}

static void rr_event(struct client *cl, struct conn *c)
{
	ssize_t n = read(c->fd, block, sizeof(block));

	if (n <= 0)
		die("peer closed");
	c->bytes += (uint64_t)n;
	if (c->bytes < cl->size)
		return;
	histogram_add(&cl->latency, now_ns() - c->started_ns);
	cl->done++;
	rr_send(cl, c);
}

static void bulk_event(struct client *cl, struct conn *c)
{
	ssize_t n;

	if (c->is_waiting_eof) {
		uint64_t total = 0;

		if (read(c->fd, &total, sizeof(total)) != sizeof(total))
			die("sink's count");
		cl->done += total;
		cl->conns--;
		conn_close(c);
		return;
	}
	if (now_ns() >= cl->until_ns) {
		shutdown(c->fd, SHUT_WR);
		c->is_waiting_eof = true;
		watch(cl->epoll_fd, c, EPOLLIN, EPOLL_CTL_MOD);
		return;
	}
	n = send(c->fd, block, sizeof(block), MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		die("send");
}

static void conn_start(struct client *cl)
{
	struct conn *c;
	uint64_t started = now_ns();

	c = conn_new(cl->epoll_fd, dial(cl, false), ROLE_BYTE, EPOLLOUT);
	c->started_ns = started;
}

static void conn_event(struct client *cl, struct conn *c, uint32_t events)
{
	uint8_t byte = 1;

	if (events & EPOLLOUT) {
		if (send(c->fd, &byte, 1, MSG_NOSIGNAL) != 1) {
			cl->failed++;
			conn_close(c);
			conn_start(cl);
			return;
		}
		watch(cl->epoll_fd, c, EPOLLIN, EPOLL_CTL_MOD);
		return;
	}
	if (read(c->fd, &byte, 1) == 1) {
		histogram_add(&cl->latency, now_ns() - c->started_ns);
		cl->done++;
	} else {
		cl->failed++;
	}
	conn_close(c);
	conn_start(cl);
}

enum mode { MODE_RR, MODE_BULK, MODE_CONN };

static void run(struct client *cl, enum mode mode)
{
	struct epoll_event ev[MAX_EVENTS];

	while (mode == MODE_BULK ? cl->conns > 0 : now_ns() < cl->until_ns) {
		int n = epoll_wait(cl->epoll_fd, ev, MAX_EVENTS, 100);

		for (int i = 0; i < n; i++) {
			struct conn *c = ev[i].data.ptr;

			if (mode == MODE_RR)
				rr_event(cl, c);
			else if (mode == MODE_BULK)
				bulk_event(cl, c);
			else
				conn_event(cl, c, ev[i].events);
		}
	}
}

static void start(struct client *cl, enum mode mode)
{
	for (unsigned int i = 0; i < cl->conns; i++) {
		struct conn *c;

		if (mode == MODE_CONN) {
			conn_start(cl);
			continue;
		}
		c = conn_new(cl->epoll_fd, dial(cl, true), ROLE_ECHO,
			     mode == MODE_RR ? EPOLLIN : EPOLLOUT);
		(void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
		if (mode == MODE_RR)
			rr_send(cl, c);
	}
}

static void resolve(struct client *cl, const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *ai;

	if (getaddrinfo(host, port, &hints, &ai) != 0)
		die(host);
	memcpy(&cl->to, ai->ai_addr, ai->ai_addrlen);
	cl->to_len = ai->ai_addrlen;
	freeaddrinfo(ai);
}

static int measure(struct client *cl, enum mode mode, double seconds)
{
	uint64_t begin = now_ns();
	double took;

	cl->until_ns = begin + (uint64_t)(seconds * 1e9);
	start(cl, mode);
	run(cl, mode);
	took = (double)(now_ns() - begin) / 1e9;
	printf("{\"done\": %llu, \"failed\": %llu, \"seconds\": %.3f, \"per_s\": %.1f, \"p50_us\": "
	       "%.1f, "
	       "\"p99_us\": %.1f}\n",
	       (unsigned long long)cl->done, (unsigned long long)cl->failed, took,
	       (double)cl->done / took, histogram_at(&cl->latency, 0.5) / 1e3,
	       histogram_at(&cl->latency, 0.99) / 1e3);
	return 0;
}

static int hold_idle(struct client *cl)
{
	struct timeval patience = {.tv_sec = 10};
	uint8_t byte = 1;

	for (unsigned int i = 0; i < cl->conns; i++) {
		int fd = dial(cl, true);

		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		/* one byte there and back: the connection is open end to end, then idle */
		if (!write_all(fd, &byte, 1) || read(fd, &byte, 1) != 1)
			die("idle connection");
	}
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit files;
	struct client cl = {.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};

	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve((uint16_t)atoi(argv[2]));
	if (argc >= 5) {
		resolve(&cl, argv[2], argv[3]);
		cl.conns = (unsigned int)atoi(argv[4]);
	}
	if (argc == 7 && strcmp(argv[1], "rr") == 0) {
		cl.size = (size_t)atoi(argv[5]);
		return measure(&cl, MODE_RR, atof(argv[6]));
	}
	if (argc == 6 && strcmp(argv[1], "bulk") == 0)
		return measure(&cl, MODE_BULK, atof(argv[5]));
	if (argc == 6 && strcmp(argv[1], "conn") == 0)
		return measure(&cl, MODE_CONN, atof(argv[5]));
	if (argc == 5 && strcmp(argv[1], "idle") == 0)
		return hold_idle(&cl);
	fprintf(stderr, "usage: loadgen serve PORT | rr HOST PORT CONNS SIZE SEC | bulk|conn HOST "
			"PORT CONNS SEC | "
			"idle HOST PORT CONNS\n");
	return 2;
}

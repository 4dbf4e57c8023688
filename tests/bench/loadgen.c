/* SPDX-License-Identifier: Apache-2.0 */
/* loadgen - TCP load for `make bench`: one thread, epoll, one JSON line as the result.
 *   loadgen serve PORT                           echo on PORT, sink on PORT+1, a byte per
 * connection on PORT+2, HTTP/1.1 on PORT+3 loadgen rr   HOST PORT CONNS SIZE SEC        round trips
 * of SIZE bytes loadgen http HOST PORT CONNS SEC             HTTP/1.1 requests on kept connections
 *   loadgen open HOST PORT CONNS SIZE SEC RATE   as rr, but RATE a second whatever the answers do,
 * timed from when each was due; SIZE 0: HTTP/1.1 loadgen bulk HOST PORT CONNS SEC             one
 * way to the sink; the sink's own byte count is what is reported loadgen conn HOST PORT CONNS SEC
 * connect, send a byte, get a byte, close; CONNS at once loadgen idle HOST PORT CONNS hold idle
 * connections until stdin ends
 */
#include "tests/bench/loadgen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"

#define HTTP_REQUEST                                                                               \
	"GET /bench HTTP/1.1\r\nHost: bench\r\nUser-Agent: loadgen\r\nAccept: */*\r\n\r\n"

uint8_t block[BLOCK];

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

void die(const char *what)
{
	fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
	exit(1);
}

void watch(int epoll_fd, int fd, void *ptr, uint32_t events, int op)
{
	struct epoll_event ev = {.events = events, .data.ptr = ptr};

	if (epoll_ctl(epoll_fd, op, fd, &ev) < 0)
		die("epoll_ctl");
}

bool write_all(int fd, const void *p, size_t n)
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

int dial(const struct client *cl, bool is_blocking)
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

void request_send(const struct client *cl, int fd)
{
	if (!write_all(fd, cl->is_http ? (const void *)HTTP_REQUEST : block,
		       cl->is_http ? sizeof(HTTP_REQUEST) - 1 : cl->size))
		die("send");
}

/* The length of an HTTP answer, once its head is there whole; the server sends it in one piece. */
static size_t http_length(const char *p, size_t n)
{
	static const char field[] = "Content-Length: ";
	const char *body, *length;
	char head[1024];

	n = n < sizeof(head) - 1 ? n : sizeof(head) - 1;
	memcpy(head, p, n);
	head[n] = '\0';
	body = strstr(head, "\r\n\r\n");
	length = strstr(head, field);
	if (!body || !length)
		return 0;
	return (size_t)(body + 4 - head) + strtoul(length + sizeof(field) - 1, NULL, 10);
}

bool answer_read(const struct client *cl, int fd, struct answer *a)
{
	ssize_t n = read(fd, block, sizeof(block));

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		errno = n == 0 ? ECONNRESET : errno;
		die("peer closed");
	}
	if (!cl->is_http)
		a->want = cl->size;
	else if (a->want == 0)
		a->want = http_length((const char *)block, (size_t)n);
	a->got += (size_t)n;
	if (a->want == 0) {
		errno = EBADMSG;
		die("HTTP answer in pieces");
	}
	return a->got >= a->want;
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

static int report(const struct client *cl, double took)
{
	static const struct {
		const char *name;
		double share;
	} shown[] = {{"p50_us", 0.5}, {"p90_us", 0.9}, {"p99_us", 0.99}, {"p999_us", 0.999}};

	printf("{\"done\": %llu, \"failed\": %llu, \"unanswered\": %llu, \"seconds\": %.3f, "
	       "\"per_s\": %.1f",
	       (unsigned long long)cl->done, (unsigned long long)cl->failed,
	       (unsigned long long)cl->unanswered, took, (double)cl->done / took);
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		printf(", \"%s\": %.1f", shown[i].name,
		       histogram_at(&cl->latency, shown[i].share) / 1e3);
	printf(", \"left_out\": %.3f}\n", cl->left_out);
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

static void prepare(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
		files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	(void)signal(SIGPIPE, SIG_IGN);
}

static int usage(void)
{
	fprintf(stderr, "usage: loadgen serve PORT | rr HOST PORT CONNS SIZE SEC | open HOST PORT "
			"CONNS SIZE SEC RATE |\n"
			"       http|bulk|conn HOST PORT CONNS SEC | idle HOST PORT CONNS\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct client cl = {.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
	const char *mode = argc > 1 ? argv[1] : "";
	bool is_rr = streq(mode, "rr") && argc == 7, is_open = streq(mode, "open") && argc == 8;
	bool is_sized = is_rr || is_open;

	prepare();
	if (argc == 3 && streq(mode, "serve"))
		serve((uint16_t)atoi(argv[2]));
	if (argc < 5)
		return usage();
	resolve(&cl, argv[2], argv[3]);
	cl.conns = (unsigned int)atoi(argv[4]);
	cl.size = is_sized ? (size_t)atoi(argv[5]) : 0;
	cl.is_http = streq(mode, "http") || (is_open && cl.size == 0);
	if (is_open) {
		cl.rate = atof(argv[7]);
		return report(&cl, open_loop(&cl, atof(argv[6])));
	}
	if (is_rr ||
	    (argc == 6 && (streq(mode, "http") || streq(mode, "bulk") || streq(mode, "conn"))))
		return report(&cl, closed_loop(&cl, mode, atof(argv[argc - 1])));
	if (argc == 5 && streq(mode, "idle"))
		return hold_idle(&cl);
	return usage();
}

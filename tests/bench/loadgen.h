/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* loadgen - what the parts of the load generator share. One thread; a failure ends the process. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "tests/bench/histogram.h"

#define BLOCK      (256 * 1024)
#define MAX_EVENTS 256

/* What the server's ports answer, from PORT on; SERVICE_SOURCE sends unasked, as long as it is
 * taken. */
enum service {
	SERVICE_ECHO,
	SERVICE_SINK,
	SERVICE_BYTE,
	SERVICE_HTTP,
	SERVICE_SOURCE,
	SERVICE_COUNT
};

struct client {
	int epoll_fd;
	struct sockaddr_storage to;
	socklen_t to_len;
	unsigned int conns;
	size_t size; /* of a request and, but for HTTP, of its answer */
	bool is_http;
	double rate; /* open loop: requests per second over all connections */
	uint64_t until_ns;
	uint64_t done;
	uint64_t failed;
	uint64_t unanswered; /* open loop: were due, had no answer when the time was over */
	struct histogram latency;
	double left_out; /* open loop: share of the latencies that stolen.h leaves out */
};

/** block - BLOCK bytes that are sent and received; nobody looks at them. */
extern uint8_t block[BLOCK];

/** now_ns() - CLOCK_MONOTONIC. */
uint64_t now_ns(void);
/** die() - say @what failed and errno, end. */
_Noreturn void die(const char *what);
/** write_all() - for small messages to a peer that never stops reading. Return: false when it is
 * gone. */
bool write_all(int fd, const void *p, size_t n);
/** watch() - epoll_ctl @op of @fd for @events, with @ptr. */
void watch(int epoll_fd, int fd, void *ptr, uint32_t events, int op);
/** dial() - connect to the client's peer. Return: the socket, connected when @is_blocking. */
int dial(const struct client *cl, bool is_blocking);
/** request_send() - one request on a connection that has none under way. */
void request_send(const struct client *cl, int fd);

/* An answer that arrives in pieces. */
struct answer {
	size_t got;
	size_t want; /* HTTP: 0 until the head has been seen */
};

/** answer_read() - read what is there. Return: is the answer complete? */
bool answer_read(const struct client *cl, int fd, struct answer *a);

/** serve() - answer on @port and the ports after it, see enum service. */
_Noreturn void serve(uint16_t port);

/** closed_loop() - "rr", "http", "bulk", "conn" for @seconds. Return: how long it took. */
double closed_loop(struct client *cl, const char *mode, double seconds);
/** open_loop() - requests at cl->rate; a latency counts from the time at which its request was to
 * be sent, to its answer or, without one, to the end. */
double open_loop(struct client *cl, double seconds);

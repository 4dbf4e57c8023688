/* SPDX-License-Identifier: Apache-2.0 */
/* openloop - a server that stops is seen by every request that was due: none is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/loadgen.h"
#include "tests/bench/stolen.h"

#define RATE    1000
#define SECONDS 0.05
#define DUE     50

/* A server that answers the first so many requests and then nothing more. */
static struct {
	int ends[2];
	unsigned int answers;
	unsigned int asked;
} server;

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

void die(const char *what)
{
	perror(what);
	abort();
}

void watch(int epoll_fd, int fd, void *ptr, uint32_t events, int op)
{
	struct epoll_event ev = {.events = events, .data.ptr = ptr};

	assert_return_code(epoll_ctl(epoll_fd, op, fd, &ev), 0);
}

int dial(const struct client *cl, bool is_blocking)
{
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, server.ends), 0);
	return server.ends[0];
}

void request_send(const struct client *cl, int fd)
{
	if (server.asked++ < server.answers)
		assert_int_equal(write(server.ends[1], "a", 1), 1);
}

bool answer_read(const struct client *cl, int fd, struct answer *a)
{
	char byte;

	return read(fd, &byte, 1) == 1;
}

/* Nothing is left out. */
static struct histogram all;

struct stolen *stolen_new(uint64_t begin_ns, double seconds)
{
	all = (struct histogram){0};
	return NULL;
}

void stolen_add(struct stolen *s, uint64_t due_ns, uint64_t ns)
{
	histogram_add(&all, ns);
}

void stolen_look(struct stolen *s, uint64_t now_ns)
{
}

double stolen_free(struct stolen *s, struct histogram *ret)
{
	*ret = all;
	return 0;
}

static struct client run(unsigned int answers)
{
	struct client cl = {
		.epoll_fd = epoll_create1(EPOLL_CLOEXEC), .conns = 1, .size = 1, .rate = RATE};

	server.answers = answers;
	server.asked = 0;
	assert_true(open_loop(&cl, SECONDS) == SECONDS);
	close(server.ends[1]);
	close(cl.epoll_fd);
	return cl;
}

static void what_a_stopped_server_owes_is_counted(void **state)
{
	struct client cl = run(5);

	assert_in_range(cl.done, 0, 5);
	assert_int_equal(cl.done + cl.unanswered, DUE);
	assert_int_equal(cl.latency.count, DUE);
	/* half of them were due in the first half, and wait to the end */
	assert_true(histogram_at(&cl.latency, 0.99) >= SECONDS / 2 * 1e9 * 0.98);
}

static void nothing_beyond_the_end_is_due(void **state)
{
	struct client cl = run(10 * DUE);

	assert_int_equal(cl.done + cl.unanswered, DUE);
	assert_in_range(server.asked, cl.done, DUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_stopped_server_owes_is_counted),
		cmocka_unit_test(nothing_beyond_the_end_is_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

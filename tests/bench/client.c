/* SPDX-License-Identifier: Apache-2.0 */
/* client - closed loops: the next request goes when the answer to the last one is there. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/macros.h"
#include "tests/bench/loadgen.h"

struct conn {
	int fd;
	uint64_t started_ns;
	struct answer answer;
	bool is_waiting_eof;
};

typedef void (*event_fn)(struct client *cl, struct conn *c, uint32_t events);

static struct conn *conn_new(const struct client *cl, int fd, uint32_t events)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		die("calloc");
	c->fd = fd;
	c->started_ns = now_ns();
	watch(cl->epoll_fd, fd, c, events, EPOLL_CTL_ADD);
	return c;
}

static void conn_close(struct conn *c)
{
	close(c->fd);
	free(c);
}

static void request_start(const struct client *cl, struct conn *c)
{
	c->started_ns = now_ns();
	c->answer = (struct answer){0};
	request_send(cl, c->fd);
}

static void on_rr(struct client *cl, struct conn *c, uint32_t events)
{
	if (!answer_read(cl, c->fd, &c->answer))
		return;
	histogram_add(&cl->latency, now_ns() - c->started_ns);
	cl->done++;
	request_start(cl, c);
}

static void on_bulk(struct client *cl, struct conn *c, uint32_t events)
{
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
		watch(cl->epoll_fd, c->fd, c, EPOLLIN, EPOLL_CTL_MOD);
		return;
	}
	if (send(c->fd, block, sizeof(block), MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		die("send");
}

static void conn_start(const struct client *cl)
{
	uint64_t started = now_ns();

	conn_new(cl, dial(cl, false), EPOLLOUT)->started_ns = started;
}

static void on_conn(struct client *cl, struct conn *c, uint32_t events)
{
	uint8_t byte = 1;

	if (events & EPOLLOUT && send(c->fd, &byte, 1, MSG_NOSIGNAL) == 1) {
		watch(cl->epoll_fd, c->fd, c, EPOLLIN, EPOLL_CTL_MOD);
		return;
	}
	if (!(events & EPOLLOUT) && read(c->fd, &byte, 1) == 1) {
		histogram_add(&cl->latency, now_ns() - c->started_ns);
		cl->done++;
	} else {
		cl->failed++;
	}
	conn_close(c);
	conn_start(cl);
}

static void start(struct client *cl, event_fn on_event)
{
	for (unsigned int i = 0; i < cl->conns; i++) {
		struct conn *c;

		if (on_event == on_conn) {
			conn_start(cl);
			continue;
		}
		c = conn_new(cl, dial(cl, true), on_event == on_rr ? EPOLLIN : EPOLLOUT);
		(void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
		if (on_event == on_rr)
			request_start(cl, c);
	}
}

double closed_loop(struct client *cl, const char *mode, double seconds)
{
	event_fn on_event = streq(mode, "bulk") ? on_bulk : streq(mode, "conn") ? on_conn : on_rr;
	struct epoll_event ev[MAX_EVENTS];
	uint64_t begin = now_ns();

	cl->until_ns = begin + (uint64_t)(seconds * 1e9);
	start(cl, on_event);
	while (on_event == on_bulk ? cl->conns > 0 : now_ns() < cl->until_ns) {
		int n = epoll_wait(cl->epoll_fd, ev, MAX_EVENTS, 100);

		for (int i = 0; i < n; i++)
			on_event(cl, ev[i].data.ptr, ev[i].events);
	}
	return (double)(now_ns() - begin) / 1e9;
}

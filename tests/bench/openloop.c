/* SPDX-License-Identifier: Apache-2.0 */
/* openloop - requests are due at fixed times, whatever the answers do. One that cannot go because
 * its connection still waits for an answer goes as soon as it can, and its latency counts from when
 * it was due: a stall is seen by every request that it delays, also by those without an answer when
 * the time is over, which have waited until then at least. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/bench/loadgen.h"
#include "tests/bench/stolen.h"

struct conn {
	int fd;
	uint64_t due_ns; /* of the request under way, or of the next one */
	struct answer answer;
	bool is_busy;
};

struct schedule {
	struct client *cl;
	struct conn *conns;
	uint64_t step_ns; /* between two requests of one connection */
	int timer_fd;
	struct stolen *stolen;
};

static void send_due(struct schedule *s, uint64_t now)
{
	for (unsigned int i = 0; i < s->cl->conns; i++) {
		struct conn *c = &s->conns[i];

		if (c->is_busy || c->due_ns > now || c->due_ns >= s->cl->until_ns)
			continue;
		c->is_busy = true;
		c->answer = (struct answer){0};
		request_send(s->cl, c->fd);
	}
}

static void on_answer(struct schedule *s, struct conn *c)
{
	if (!answer_read(s->cl, c->fd, &c->answer))
		return;
	stolen_add(s->stolen, c->due_ns, now_ns() - c->due_ns);
	s->cl->done++;
	c->due_ns += s->step_ns;
	c->is_busy = false;
}

/* What was due and has no answer at the end: left out, a server that stops would look fast. */
static void count_unanswered(const struct schedule *s)
{
	for (unsigned int i = 0; i < s->cl->conns; i++)
		for (uint64_t due = s->conns[i].due_ns; due < s->cl->until_ns; due += s->step_ns) {
			stolen_add(s->stolen, due, s->cl->until_ns - due);
			s->cl->unanswered++;
		}
}

/* Wake at the next time at which a request is due. */
static void timer_arm(const struct schedule *s)
{
	struct itimerspec at = {0};
	uint64_t next = s->cl->until_ns;

	for (unsigned int i = 0; i < s->cl->conns; i++)
		if (!s->conns[i].is_busy && s->conns[i].due_ns < next)
			next = s->conns[i].due_ns;
	at.it_value.tv_sec = (time_t)(next / 1000000000);
	at.it_value.tv_nsec = (long)(next % 1000000000);
	if (timerfd_settime(s->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
		die("timerfd_settime");
}

static void connect_all(struct schedule *s, uint64_t begin)
{
	for (unsigned int i = 0; i < s->cl->conns; i++) {
		struct conn *c = &s->conns[i];

		c->fd = dial(s->cl, true);
		(void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
		c->due_ns = begin + i * (s->step_ns / s->cl->conns);
		watch(s->cl->epoll_fd, c->fd, c, EPOLLIN, EPOLL_CTL_ADD);
	}
}

double open_loop(struct client *cl, double seconds)
{
	struct schedule s = {.cl = cl, .conns = calloc(cl->conns, sizeof(*s.conns))};
	struct epoll_event ev[MAX_EVENTS];
	uint64_t begin = now_ns() + 10000000; /* the connections are made before */

	s.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (!s.conns || s.timer_fd < 0 || cl->rate <= 0)
		die("open loop");
	s.step_ns = (uint64_t)(1e9 * cl->conns / cl->rate);
	cl->until_ns = begin + (uint64_t)(seconds * 1e9);
	s.stolen = stolen_new(begin, seconds);
	connect_all(&s, begin);
	watch(cl->epoll_fd, s.timer_fd, NULL, EPOLLIN, EPOLL_CTL_ADD);
	while (now_ns() < cl->until_ns) {
		uint64_t ticks;
		int n;

		stolen_look(s.stolen, now_ns());
		send_due(&s, now_ns());
		timer_arm(&s);
		n = epoll_wait(cl->epoll_fd, ev, MAX_EVENTS, 100);
		for (int i = 0; i < n; i++)
			if (ev[i].data.ptr)
				on_answer(&s, ev[i].data.ptr);
			else if (read(s.timer_fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
				die("timer");
	}
	count_unanswered(&s);
	cl->left_out = stolen_free(s.stolen, &cl->latency);
	close(s.timer_fd);
	for (unsigned int i = 0; i < cl->conns; i++)
		close(s.conns[i].fd);
	free(s.conns);
	return seconds;
}

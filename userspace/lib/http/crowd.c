/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "http/server_internal.h"
#include "net/addr.h"
#include "net/shares.h"

#define ACCEPT_BATCH 64
#define WAITING_MAX  1024
/* Of what a connection may take to ask while all are taken: so much of it, where its address has
 * more of them than the one that comes. */
#define YIELD_PART 10

struct crowd {
	struct http_server *server;
	struct shares *begun, *held;
	struct list waiting; /* the newest last */
	size_t n_waiting;
	struct loop_task task;   /* one has ended */
	struct loop_timer timer; /* one has had its time */
};

static void unhold(struct crowd *crowd, struct conn *c)
{
	list_del(&c->link);
	crowd->n_waiting--;
	shares_give_back(crowd->held, c->share);
	c->share = NULL;
}

static void turn_away(struct crowd *crowd, struct conn *c)
{
	unhold(crowd, c);
	(void)close_fd(c->watch.fd);
	http_conn_free(c);
}

/* Whoever has most of them waiting loses the last. */
static void waiting_bound(struct crowd *crowd)
{
	const struct share *most = shares_most(crowd->held);
	struct conn *c = list_entry(crowd->waiting.prev, struct conn, link);

	if (crowd->n_waiting <= WAITING_MAX)
		return;
	while (c->share != most)
		c = list_entry(c->link.prev, struct conn, link);
	turn_away(crowd, c);
}

static int hold(struct crowd *crowd, int fd, const struct cv_addr *addr)
{
	struct conn *c = http_conn_new(crowd->server, fd);

	if (!c)
		return -ENOMEM;
	c->addr = *addr;
	c->share = shares_take(crowd->held, addr);
	if (!c->share) {
		http_conn_free(c);
		return -ENOMEM;
	}
	list_add_tail(&crowd->waiting, &c->link);
	crowd->n_waiting++;
	waiting_bound(crowd);
	return 0;
}

/* Whose address has the fewest that were begun; of those, who came first. */
static struct conn *next_waiting(const struct crowd *crowd)
{
	struct conn *found = NULL, *c;
	size_t fewest = SIZE_MAX;

	list_for_each_entry (c, &crowd->waiting, link) {
		size_t n = shares_of(crowd->begun, &c->addr);

		if (n >= fewest)
			continue;
		found = c;
		fewest = n;
		if (n == 0)
			break;
	}
	return found;
}

/* Who goes for @c, and when? Those that say nothing, or do not take what they asked for; what the
 * handler has ends by itself. What has its answer is kept for the peer's sake alone, and not for
 * long. Return: NULL: nobody. */
static struct conn *who_goes(const struct crowd *crowd, const struct conn *c, uint64_t *ret_us)
{
	const struct share *most = shares_most(crowd->begun);
	bool must_yield = shares_must_yield(most, shares_of(crowd->begun, &c->addr));
	uint64_t us = crowd->server->config.crowd_us;
	struct conn *found = NULL, *one;

	list_for_each_entry (one, &crowd->server->conns, link) {
		bool is_soon =
			one->state == CONN_STATE_LINGER || (must_yield && one->share == most);
		uint64_t at = one->since_us + (is_soon ? us / YIELD_PART : us);

		if (one->state == CONN_STATE_DEFERRED || (found && at >= *ret_us))
			continue;
		found = one;
		*ret_us = at;
	}
	return found;
}

/* Is it us whom it waits for? After a turn that took long, what was said meanwhile lies there. */
static bool is_our_turn(const struct conn *c)
{
	struct pollfd p = {.fd = c->watch.fd,
			   .events = c->state == CONN_STATE_WRITE ? POLLOUT : POLLIN};

	return c->state != CONN_STATE_LINGER && poll(&p, 1, 0) > 0;
}

static bool slot_make(struct crowd *crowd, const struct conn *c)
{
	const struct http_server *s = crowd->server;
	uint64_t now = loop_now_us(s->loop), at = 0;
	struct conn *going;

	if (s->n_conns < CONNECTIONS_MAX)
		return true;
	do {
		going = who_goes(crowd, c, &at);
		if (!going)
			return false;
	} while (at <= now && is_our_turn(going) && http_conn_heard(going));
	if (at > now) {
		(void)loop_timer_set(s->loop, &crowd->timer, at - now);
		return false;
	}
	http_conn_close(going);
	return true;
}

static void serve(struct crowd *crowd)
{
	struct conn *c;

	while ((c = next_waiting(crowd)) && slot_make(crowd, c)) {
		struct cv_addr addr = c->addr;
		struct share *share = shares_take(crowd->begun, &addr);

		if (!share) {
			turn_away(crowd, c);
			continue;
		}
		unhold(crowd, c);
		c->share = share;
		if (http_conn_begin(c) < 0)
			shares_give_back(crowd->begun, share);
	}
}

static void on_task(struct loop_task *t)
{
	serve(container_of(t, struct crowd, task));
}

static void on_timer(struct loop_timer *t)
{
	serve(container_of(t, struct crowd, timer));
}

static int accept_one(struct crowd *crowd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct cv_sockaddr from;
	int fd = accept4(crowd->server->listener.fd, (struct sockaddr *)&sa, &len,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	/* of another family: all are one */
	if (cv_sockaddr_from_native((const struct sockaddr *)&sa, len, &from) < 0)
		from = (struct cv_sockaddr){0};
	if (hold(crowd, fd, &from.addr) < 0)
		(void)close_fd(fd);
	return 0;
}

int crowd_accept(struct crowd *crowd)
{
	int r = 0;

	/* the others come in the loop's next turn */
	for (int i = 0; i < ACCEPT_BATCH && r == 0; i++)
		r = accept_one(crowd);
	serve(crowd);
	return r;
}

void crowd_leave(struct crowd *crowd, struct conn *c)
{
	shares_give_back(crowd->begun, c->share);
	c->share = NULL;
	loop_task_queue(crowd->server->loop, &crowd->task);
}

int crowd_new(struct http_server *s)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));
	int r;

	if (!crowd)
		return -ENOMEM;
	crowd->server = s;
	list_init(&crowd->waiting);
	crowd->task.on_task = on_task;
	crowd->timer.on_timer = on_timer;
	r = shares_new(&crowd->begun);
	if (r == 0)
		r = shares_new(&crowd->held);
	if (r < 0) {
		crowd_free(crowd);
		return r;
	}
	s->crowd = crowd;
	return 0;
}

void crowd_free(struct crowd *crowd)
{
	struct conn *c, *tmp;

	if (!crowd)
		return;
	list_for_each_entry_safe (c, tmp, &crowd->waiting, link)
		turn_away(crowd, c);
	loop_task_del(&crowd->task);
	loop_timer_del(&crowd->timer);
	(void)shares_free(crowd->begun);
	(void)shares_free(crowd->held);
	free(crowd);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/stock.h"

#include <errno.h>

#include "base/cleanup.h"

void stock_init(struct stock *s, int (*need)(void *arg, struct stock *s, uint32_t count), void *arg,
		struct turns *turns)
{
	s->count = 0;
	s->asked = 0;
	s->batch = STOCK_BATCH_MIN;
	s->need = need;
	s->arg = arg;
	s->turns = turns;
	list_init(&s->waiters);
}

static int refill(struct stock *s)
{
	int r;

	if (s->asked > 0 || s->count >= s->batch / 2)
		return 0;
	s->asked = MIN(s->batch, STOCK_BATCH_MAX - s->count);
	r = s->need(s->arg, s, s->asked);
	if (r < 0)
		s->asked = 0;
	return r;
}

static void on_turn(struct turn_work *work)
{
	struct dial_wait *w = container_of(work, struct dial_wait, work);

	w->on_socket(w, w->fd);
}

static void wait_turn(struct stock *s, struct dial_wait *w, int fd)
{
	w->fd = fd;
	w->work.on_turn = on_turn;
	turns_wait(s->turns, &w->work);
}

static void answer(struct stock *s, int fd)
{
	struct dial_wait *w = list_entry(s->waiters.next, struct dial_wait, link);

	list_del(&w->link);
	if (fd < 0 || turns_take(s->turns))
		w->on_socket(w, fd);
	else
		wait_turn(s, w, fd);
}

static void refuse_all(struct stock *s, int error)
{
	while (!list_is_empty(&s->waiters))
		answer(s, error);
}

/* Whoever waits, waits for what was asked for. */
static void refill_for_waiters(struct stock *s)
{
	int r = list_is_empty(&s->waiters) ? 0 : refill(s);

	if (r < 0)
		refuse_all(s, r);
}

void stock_close(struct stock *s, int error)
{
	while (s->count > 0)
		(void)close_fd(s->fds[--s->count]);
	refuse_all(s, error);
}

void stock_move_waiters(struct stock *to, struct stock *from)
{
	while (!list_is_empty(&from->waiters)) {
		struct list *l = from->waiters.next;

		list_del(l);
		list_add_tail(&to->waiters, l);
	}
	refill_for_waiters(to);
}

int stock_take(struct stock *s, struct dial_wait *w)
{
	int r;

	if (s->count > 0) {
		int fd = s->fds[--s->count];

		(void)refill(s);
		if (turns_take(s->turns))
			return fd;
		wait_turn(s, w, fd);
		return -EAGAIN;
	}
	s->batch = MIN(s->batch * 2, (uint32_t)STOCK_BATCH_MAX);
	r = refill(s);
	if (r < 0)
		return r;
	list_add_tail(&s->waiters, &w->link);
	return -EAGAIN;
}

/* give_up() - one less to dial with. */
static void give_up(struct stock *s)
{
	if (!list_is_empty(&s->waiters))
		answer(s, -EMFILE);
}

void stock_give(struct stock *s, const int *fds, uint32_t count, uint32_t error)
{
	s->asked -= MIN(s->asked, count);
	if (error != 0)
		s->asked = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (fds[i] < 0)
			give_up(s);
		else if (!list_is_empty(&s->waiters))
			answer(s, fds[i]);
		else if (s->count < STOCK_BATCH_MAX)
			s->fds[s->count++] = fds[i];
		else
			(void)close_fd(fds[i]);
	}
	if (error != 0)
		refuse_all(s, -(int)error);
	else
		refill_for_waiters(s);
}

void stock_lost(struct stock *s)
{
	if (s->asked > 0)
		stock_give(s, NULL, 0, ENOMEM);
}

void dial_wait_cancel(struct dial_wait *w)
{
	if (w->link.next)
		list_del(&w->link);
	if (turn_work_cancel(&w->work))
		w->fd = close_fd(w->fd);
}

bool dial_wait_is_on(const struct dial_wait *w)
{
	return list_is_in(&w->link) || list_is_in(&w->work.link);
}

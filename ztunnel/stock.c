/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/stock.h"

#include <errno.h>

#include "base/cleanup.h"

static void on_turn(struct turn_work *work);

void stock_init(struct stock *s, int (*need)(void *arg, struct stock *s, uint32_t count), void *arg,
		struct turns *turns)
{
	*s = (struct stock){.batch = STOCK_BATCH_MIN,
			    .need = need,
			    .arg = arg,
			    .turns = turns,
			    .work.on_turn = on_turn};
	list_init(&s->waiters);
	list_init(&s->ready);
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

static void turn_wait(struct stock *s)
{
	if (s->ready_count > 0 && !list_is_in(&s->work.link))
		turns_wait(s->turns, &s->work);
}

static void ready_add(struct stock *s, struct dial_wait *w, int fd)
{
	w->stock = s;
	w->fd = fd;
	w->has_fd = true;
	list_add_tail(&s->ready, &w->link);
	s->ready_count++;
	turn_wait(s);
}

/* Return: its socket. */
static int ready_del(struct dial_wait *w)
{
	list_del(&w->link);
	w->stock->ready_count--;
	w->stock = NULL;
	w->has_fd = false;
	return w->fd;
}

static void serve_first(struct stock *s)
{
	struct dial_wait *w = list_entry(s->ready.next, struct dial_wait, link);
	int fd = ready_del(w);

	w->on_socket(w, fd);
}

static void on_turn(struct turn_work *work)
{
	struct stock *s = container_of(work, struct stock, work);
	uint32_t n = MIN(MAX(s->ready_count / STOCK_TURN_SHARE, 1U), (uint32_t)STOCK_TURN_MAX);

	for (; n > 0 && s->ready_count > 0; n--)
		serve_first(s);
	turn_wait(s);
}

/* may_dial() - now, and before nobody who came earlier. */
static bool may_dial(struct stock *s)
{
	return s->ready_count == 0 && turns_take(s->turns);
}

static void waiter_add(struct stock *s, struct dial_wait *w)
{
	w->stock = s;
	list_add_tail(&s->waiters, &w->link);
}

static void waiter_del(struct dial_wait *w)
{
	list_del(&w->link);
	w->stock = NULL;
}

static void answer(struct stock *s, int fd)
{
	struct dial_wait *w = list_entry(s->waiters.next, struct dial_wait, link);

	waiter_del(w);
	if (fd < 0 || may_dial(s))
		w->on_socket(w, fd);
	else
		ready_add(s, w, fd);
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
	while (s->ready_count > 0)
		serve_first(s);
	refuse_all(s, error);
	(void)turn_work_cancel(&s->work);
}

void stock_move_waiters(struct stock *to, struct stock *from)
{
	while (from->ready_count > 0) {
		struct dial_wait *w = list_entry(from->ready.next, struct dial_wait, link);

		ready_add(to, w, ready_del(w));
	}
	while (!list_is_empty(&from->waiters)) {
		struct dial_wait *w = list_entry(from->waiters.next, struct dial_wait, link);

		waiter_del(w);
		waiter_add(to, w);
	}
	refill_for_waiters(to);
}

int stock_take(struct stock *s, struct dial_wait *w)
{
	int r;

	if (s->count > 0) {
		int fd = s->fds[--s->count];

		(void)refill(s);
		if (may_dial(s))
			return fd;
		ready_add(s, w, fd);
		return -EAGAIN;
	}
	s->batch = MIN(s->batch * 2, (uint32_t)STOCK_BATCH_MAX);
	r = refill(s);
	if (r < 0)
		return r;
	waiter_add(s, w);
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
	if (w->has_fd)
		w->fd = close_fd(ready_del(w));
	else if (w->stock)
		waiter_del(w);
}

bool dial_wait_is_on(const struct dial_wait *w)
{
	return w->stock != NULL;
}

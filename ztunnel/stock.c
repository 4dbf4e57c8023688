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

static void wait_begin(struct stock *s, struct dial_wait *w)
{
	list_add_tail(&s->waiters, &w->link);
	w->stock = s;
	s->waiting++;
}

static void wait_end(struct dial_wait *w)
{
	list_del(&w->link);
	w->stock->waiting--;
	w->stock = NULL;
}

/* Who came first gets it. */
static void answer(struct stock *s, int fd)
{
	struct dial_wait *w = list_entry(s->waiters.next, struct dial_wait, link);

	wait_end(w);
	w->on_socket(w, fd);
}

static bool has_work(const struct stock *s)
{
	return s->waiting > 0 && s->count > 0;
}

static void serve_one(struct stock *s)
{
	answer(s, s->fds[--s->count]);
}

/* Those for whom there is no socket at hand. */
static void refuse_rest(struct stock *s, int error)
{
	while (s->waiting > s->count) {
		struct dial_wait *w = list_entry(s->waiters.prev, struct dial_wait, link);

		wait_end(w);
		w->on_socket(w, error);
	}
}

/* Whoever waits, waits for what was asked for, or for a turn. */
static void refill_for_waiters(struct stock *s)
{
	int r = s->waiting > 0 ? refill(s) : 0;

	if (r < 0)
		refuse_rest(s, r);
}

static void turn_wait(struct stock *s)
{
	if (has_work(s) && !list_is_in(&s->work.link))
		turns_wait(s->turns, &s->work);
}

static void on_turn(struct turn_work *work)
{
	struct stock *s = container_of(work, struct stock, work);
	uint32_t n = MIN(MAX(s->waiting / STOCK_TURN_SHARE, 1U), (uint32_t)STOCK_TURN_MAX);

	int r;

	for (; n > 0 && has_work(s); n--)
		serve_one(s);
	r = refill(s);
	if (r < 0)
		refuse_rest(s, r);
	turn_wait(s);
}

void stock_close(struct stock *s, int error)
{
	while (has_work(s))
		serve_one(s);
	while (s->count > 0)
		(void)close_fd(s->fds[--s->count]);
	refuse_rest(s, error);
	(void)turn_work_cancel(&s->work);
}

void stock_move_waiters(struct stock *to, struct stock *from)
{
	while (from->waiting > 0) {
		struct dial_wait *w = list_entry(from->waiters.next, struct dial_wait, link);

		wait_end(w);
		wait_begin(to, w);
	}
	refill_for_waiters(to);
	turn_wait(to);
}

int stock_take(struct stock *s, struct dial_wait *w)
{
	bool is_empty = s->count == 0;
	int r;

	if (is_empty)
		s->batch = MIN(s->batch * 2, (uint32_t)STOCK_BATCH_MAX);
	if (has_work(s) || is_empty || !turns_take(s->turns)) {
		r = refill(s);
		if (r < 0 && is_empty)
			return r;
		wait_begin(s, w);
		turn_wait(s);
		return -EAGAIN;
	}
	r = s->fds[--s->count];
	(void)refill(s);
	return r;
}

/* give_up() - one less to dial with. */
static void give_up(struct stock *s)
{
	if (s->waiting > s->count)
		answer(s, -EMFILE);
}

static void take_in(struct stock *s, int fd)
{
	if (s->count < STOCK_BATCH_MAX)
		s->fds[s->count++] = fd;
	else
		(void)close_fd(fd);
}

void stock_give(struct stock *s, const int *fds, uint32_t count, uint32_t error)
{
	s->asked -= MIN(s->asked, count);
	if (error != 0)
		s->asked = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (fds[i] < 0) {
			give_up(s);
			continue;
		}
		take_in(s, fds[i]);
		if (has_work(s) && turns_take(s->turns))
			serve_one(s);
	}
	if (error != 0)
		refuse_rest(s, -(int)error);
	else
		refill_for_waiters(s);
	turn_wait(s);
}

void stock_lost(struct stock *s)
{
	if (s->asked > 0)
		stock_give(s, NULL, 0, ENOMEM);
}

void dial_wait_cancel(struct dial_wait *w)
{
	if (w->stock)
		wait_end(w);
}

bool dial_wait_is_on(const struct dial_wait *w)
{
	return w->stock != NULL;
}

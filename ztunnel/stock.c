/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/stock.h"

#include <errno.h>

#include "base/cleanup.h"

void stock_init(struct stock *s, void (*need)(void *arg, struct stock *s, uint32_t count),
		void *arg)
{
	s->count = 0;
	s->asked = 0;
	s->batch = STOCK_BATCH_MIN;
	s->need = need;
	s->arg = arg;
	list_init(&s->waiters);
}

static void refill(struct stock *s)
{
	if (s->asked > 0 || s->count >= s->batch / 2)
		return;
	s->asked = MIN(s->batch, STOCK_BATCH_MAX - s->count);
	s->need(s->arg, s, s->asked);
}

static void answer(struct stock *s, int fd)
{
	struct dial_wait *w = list_entry(s->waiters.next, struct dial_wait, link);

	list_del(&w->link);
	w->on_socket(w, fd);
}

void stock_close(struct stock *s, int error)
{
	while (s->count > 0)
		(void)close_fd(s->fds[--s->count]);
	while (!list_is_empty(&s->waiters))
		answer(s, error);
}

void stock_move_waiters(struct stock *to, struct stock *from)
{
	while (!list_is_empty(&from->waiters)) {
		struct list *l = from->waiters.next;

		list_del(l);
		list_add_tail(&to->waiters, l);
	}
	if (!list_is_empty(&to->waiters))
		refill(to);
}

int stock_take(struct stock *s, struct dial_wait *w)
{
	int fd = -EAGAIN;

	if (s->count > 0) {
		fd = s->fds[--s->count];
	} else {
		s->batch = MIN(s->batch * 2, (uint32_t)STOCK_BATCH_MAX);
		list_add_tail(&s->waiters, &w->link);
	}
	refill(s);
	return fd;
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
		while (!list_is_empty(&s->waiters))
			answer(s, -(int)error);
	else if (!list_is_empty(&s->waiters))
		refill(s);
}

void dial_wait_cancel(struct dial_wait *w)
{
	if (w->link.next)
		list_del(&w->link);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/turns.h"

static void run_first(struct turns *t)
{
	struct turn_work *w = list_entry(t->waiting.next, struct turn_work, link);

	t->done++;
	(void)turn_work_cancel(w);
	w->on_turn(w);
}

static bool has_room(struct turns *t)
{
	uint64_t turn = loop_turn(t->loop);

	if (t->turn != turn) {
		t->turn = turn;
		t->done = 0;
	}
	return t->done < MAX(t->max, t->count / TURNS_SHARE);
}

static void on_task(struct loop_task *task)
{
	struct turns *t = container_of(task, struct turns, task);

	while (!list_is_empty(&t->waiting) && has_room(t))
		run_first(t);
	if (!list_is_empty(&t->waiting))
		loop_task_queue(t->loop, &t->task);
}

void turns_init(struct turns *t, struct loop *loop, unsigned int max)
{
	*t = (struct turns){.loop = loop, .max = max, .task.on_task = on_task};
	list_init(&t->waiting);
}

void turns_free(struct turns *t)
{
	if (!t->loop)
		return;
	loop_task_del(&t->task);
	while (!list_is_empty(&t->waiting))
		(void)turn_work_cancel(list_entry(t->waiting.next, struct turn_work, link));
}

bool turns_take(struct turns *t)
{
	if (!list_is_empty(&t->waiting) || !has_room(t))
		return false;
	t->done++;
	return true;
}

void turns_wait(struct turns *t, struct turn_work *w)
{
	list_add_tail(&t->waiting, &w->link);
	w->turns = t;
	t->count++;
	loop_task_queue(t->loop, &t->task);
}

bool turn_work_cancel(struct turn_work *w)
{
	if (!list_is_in(&w->link))
		return false;
	list_del(&w->link);
	w->turns->count--;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/inbox.h"

#include "base/loop.h"

static void take_all(struct inbox *b, struct list *into)
{
	list_init(into);
	(void)pthread_mutex_lock(&b->lock);
	if (!list_is_empty(&b->queue)) {
		list_add(&b->queue, into);
		list_del(&b->queue);
	}
	(void)pthread_mutex_unlock(&b->lock);
}

static void run_all(struct inbox *b, void *target)
{
	struct list batch;

	take_all(b, &batch);
	while (!list_is_empty(&batch)) {
		struct message *m = list_entry(batch.next, struct message, link);

		list_del(&m->link);
		m->run(target, m);
	}
}

static void on_wake(void *arg)
{
	struct inbox *b = arg;

	run_all(b, b->target);
}

void inbox_init(struct inbox *b, struct loop *loop, void *target)
{
	(void)pthread_mutex_init(&b->lock, NULL);
	list_init(&b->queue);
	b->loop = loop;
	b->target = target;
	b->is_closed = false;
	loop_set_wake(loop, on_wake, b);
}

void inbox_post(struct inbox *b, struct message *m)
{
	bool is_first, is_closed;

	(void)pthread_mutex_lock(&b->lock);
	is_closed = b->is_closed;
	is_first = list_is_empty(&b->queue);
	if (!is_closed)
		list_add_tail(&b->queue, &m->link);
	(void)pthread_mutex_unlock(&b->lock);
	if (is_closed) {
		list_init(&m->link);
		m->run(NULL, m);
	} else if (is_first) {
		loop_wake(b->loop);
	}
}

void inbox_close(struct inbox *b)
{
	(void)pthread_mutex_lock(&b->lock);
	b->is_closed = true;
	(void)pthread_mutex_unlock(&b->lock);
	run_all(b, NULL);
}

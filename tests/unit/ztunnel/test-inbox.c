/* SPDX-License-Identifier: Apache-2.0 */
/* inbox - messages of many threads run once each, in their sender's order, in the loop's thread;
 * after the close none runs. */
#include "ztunnel/inbox.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/loop.h"
#include "tests/unit/ztunnel/mesh.h"

#define THREADS  4
#define MESSAGES 5000

struct target {
	struct loop *loop;
	struct inbox inbox;
	pthread_t owner;
	int next[THREADS];
	int total;
};

struct note {
	struct message m;
	int thread, number;
	int *freed;
};

static void run(void *target, struct message *m)
{
	struct note *n = container_of(m, struct note, m);
	struct target *t = target;

	if (t) {
		assert_true(pthread_equal(pthread_self(), t->owner));
		assert_int_equal(n->number, t->next[n->thread]++);
		t->total++;
	} else if (n->freed) {
		(*n->freed)++;
	}
	free(n);
}

static void post(struct target *t, int thread, int number, int *freed)
{
	struct note *n = calloc(1, sizeof(*n));

	n->m.run = run;
	n->thread = thread;
	n->number = number;
	n->freed = freed;
	inbox_post(&t->inbox, &n->m);
}

struct sender {
	struct target *target;
	int thread;
};

static void *send_all(void *arg)
{
	const struct sender *s = arg;

	for (int i = 0; i < MESSAGES; i++)
		post(s->target, s->thread, i, NULL);
	return NULL;
}

TEST(each_message_runs_once_and_in_order)
{
	struct target t = {.owner = pthread_self()};
	struct sender senders[THREADS];
	pthread_t threads[THREADS];
	int freed = 0;

	assert_int_equal(loop_new(&t.loop), 0);
	inbox_init(&t.inbox, t.loop, &t);
	for (int i = 0; i < THREADS; i++) {
		senders[i] = (struct sender){&t, i};
		assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
	}
	for (int i = 0; i < 10000 && t.total < THREADS * MESSAGES; i++)
		assert_int_equal(loop_run_once(t.loop, 10), 0);
	assert_int_equal(t.total, THREADS * MESSAGES);
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	post(&t, 0, 0, &freed);
	inbox_close(&t.inbox);
	assert_int_equal(freed, 1);
	post(&t, 0, 0, &freed);
	assert_int_equal(freed, 2);
	loop_free(t.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_message_runs_once_and_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

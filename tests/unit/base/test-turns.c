/* SPDX-License-Identifier: Apache-2.0 */
/* turns - a few a turn, in order, and others come between. */
#include "base/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct job {
	struct turn_work work;
	char name;
	struct turns *again; /* where it waits once more */
};

static char done[32];

static void on_turn(struct turn_work *w)
{
	struct job *j = container_of(w, struct job, work);
	struct turns *again = j->again;

	done[strlen(done)] = j->name;
	j->again = NULL;
	if (again)
		turns_wait(again, w);
}

static struct job job(char name)
{
	return (struct job){.work.on_turn = on_turn, .name = name};
}

static int setup(void **state)
{
	memset(done, 0, sizeof(done));
	return loop_new((struct loop **)state);
}

static int teardown(void **state)
{
	(void)loop_free(*state);
	return 0;
}

static void turn(struct loop *l, const char *expected)
{
	assert_int_equal(loop_run_once(l, 0), 0);
	assert_string_equal(done, expected);
}

static void a_turn_does_a_few_in_order(void **state)
{
	struct job a = job('a'), b = job('b'), c = job('c');
	struct turns t;

	turns_init(&t, *state, 2);
	turns_wait(&t, &a.work);
	turns_wait(&t, &b.work);
	turns_wait(&t, &c.work);
	assert_string_equal(done, "");
	turn(*state, "ab");
	/* nobody goes before those that wait */
	assert_false(turns_take(&t));
	turn(*state, "abc");
	assert_true(turns_take(&t));
	assert_false(turns_take(&t)); /* with 'c' these are two */
	turn(*state, "abc");
	assert_true(turns_take(&t));
	turns_free(&t);
}

static void where_many_wait_a_turn_does_more(void **state)
{
	struct job jobs[4 * TURNS_SHARE];
	struct turns t;

	turns_init(&t, *state, 1);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		jobs[i] = job('x');
		turns_wait(&t, &jobs[i].work);
	}
	for (size_t i = ARRAY_SIZE(jobs) - 2; i > 3 * TURNS_SHARE; i--)
		assert_true(turn_work_cancel(&jobs[i].work));
	assert_int_equal(t.count, 3 * TURNS_SHARE + 2);
	turn(*state, "xxx");
	turns_free(&t);
	assert_int_equal(t.count, 0);
}

static void one_that_is_taken_back_is_not_done(void **state)
{
	struct job a = job('a'), b = job('b');
	struct turns t;

	turns_init(&t, *state, 1);
	turns_wait(&t, &a.work);
	turns_wait(&t, &b.work);
	assert_true(turn_work_cancel(&a.work));
	assert_false(turn_work_cancel(&a.work));
	turn(*state, "b");
	assert_false(turn_work_cancel(&b.work));
	turns_free(&t);
}

static void one_that_comes_again_goes_last(void **state)
{
	struct job a = job('a'), b = job('b');
	struct turns t;

	turns_init(&t, *state, 1);
	a.again = &t;
	turns_wait(&t, &a.work);
	turns_wait(&t, &b.work);
	turn(*state, "a");
	turn(*state, "ab");
	turn(*state, "aba");
	turn(*state, "aba");
	turns_free(&t);
}

static void what_waits_at_the_end_is_forgotten(void **state)
{
	struct job a = job('a');
	struct turns t = {0};

	turns_free(&t);
	turns_init(&t, *state, 1);
	turns_wait(&t, &a.work);
	turns_free(&t);
	turn(*state, "");
	assert_false(turn_work_cancel(&a.work));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_turn_does_a_few_in_order),         T(where_many_wait_a_turn_does_more),
		T(one_that_is_taken_back_is_not_done), T(one_that_comes_again_goes_last),
		T(what_waits_at_the_end_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

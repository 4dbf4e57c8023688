/* SPDX-License-Identifier: Apache-2.0 */
/* rounds - what comes alone goes to all at once; in a burst each client has one turn in a round,
 * and they are spread over it. */
#include "xds/rounds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/macros.h"

#define CLIENTS_MAX 3000
#define MS          1000ULL
#define ROUND_US    (60 * MS)

static uint64_t now_us;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	*ret = (struct timespec){.tv_sec = (time_t)(now_us / 1000000),
				 .tv_nsec = (long)(now_us % 1000000 * 1000)};
	return 0;
}

struct fixture {
	struct loop *loop;
	struct rounds rounds;
	size_t n, next, calls;
	uint64_t changed_us[CLIENTS_MAX]; /* of the first change that it does not have */
	uint64_t late_us;                 /* the most */
	unsigned int turns[CLIENTS_MAX];
};

static void serve(void *arg, size_t n)
{
	struct fixture *f = arg;

	f->calls++;
	for (; n > 0; n--, f->next = (f->next + 1) % f->n) {
		f->turns[f->next]++;
		if (f->changed_us[f->next])
			f->late_us = MAX(f->late_us, now_us - f->changed_us[f->next]);
		f->changed_us[f->next] = 0;
	}
}

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){.n = 1000};
	now_us = 1000 * MS;
	assert_int_equal(loop_new(&f.loop), 0);
	rounds_init(&f.rounds, f.loop, serve, &f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rounds_stop(&f->rounds);
	f->loop = loop_free(f->loop);
	return 0;
}

static void change(struct fixture *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (!f->changed_us[i])
			f->changed_us[i] = now_us;
	rounds_ask(&f->rounds, f->n);
}

/* As the loop would. */
static void pass(struct fixture *f, uint64_t us)
{
	for (uint64_t end = now_us + us; now_us < end; now_us += MS) {
		struct loop_timer *t = &f->rounds.timer;

		if (!t->loop || t->at_us > now_us)
			continue;
		loop_timer_del(t);
		t->on_timer(t);
	}
}

static size_t behind(const struct fixture *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->changed_us[i] != 0;
	return n;
}

static void what_comes_alone_goes_at_once(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		change(f);
		assert_int_equal(behind(f), 0);
		pass(f, ROUND_US + MS);
	}
	assert_int_equal(f->calls, 3);
	assert_int_equal(f->turns[0], 3);
	assert_int_equal(f->turns[999], 3);
}

static void few_never_wait(void **state)
{
	struct fixture *f = *state;

	f->n = 10;
	for (int i = 0; i < 100; i++, now_us += MS)
		change(f);
	assert_int_equal(f->late_us, 0);
	f->n = 0;
	rounds_ask(&f->rounds, 0);
}

static void the_second_one_goes_round(void **state)
{
	struct fixture *f = *state;

	change(f);
	pass(f, 5 * MS);
	change(f);
	assert_int_equal(behind(f), 1000);
	pass(f, ROUND_US / 2);
	assert_in_range(behind(f), 450, 550);
	pass(f, ROUND_US / 2 + 3 * MS);
	assert_int_equal(behind(f), 0);
	assert_null(f->rounds.timer.loop);
	assert_int_equal(f->turns[0], 2);
	assert_int_equal(f->turns[999], 2);
}

/* As many turns as rounds, and nobody waits longer than one for any change. */
static void a_burst_is_one_push_in_a_round(void **state)
{
	const unsigned int rounds = 500 * 20 * MS / ROUND_US;
	struct fixture *f = *state;

	for (int i = 0; i < 500; i++) {
		change(f);
		pass(f, 20 * MS);
	}
	pass(f, 2 * ROUND_US);
	assert_int_equal(behind(f), 0);
	assert_in_range(f->late_us, ROUND_US - 2 * MS, ROUND_US + 3 * MS);
	for (size_t i = 0; i < f->n; i++)
		assert_in_range(f->turns[i], rounds - 1, rounds + 10);
}

static void a_round_is_no_longer_with_more_clients(void **state)
{
	struct fixture *f = *state;

	f->n = CLIENTS_MAX;
	for (int i = 0; i < 100; i++) {
		change(f);
		pass(f, 20 * MS);
	}
	assert_in_range(f->late_us, 0, ROUND_US + 3 * MS);
}

/* A loop that was held up does not catch up with more than there are. */
static void who_was_held_up_serves_each_once(void **state)
{
	struct fixture *f = *state;

	change(f);
	change(f);
	now_us += 1000 * MS;
	pass(f, MS);
	assert_int_equal(behind(f), 0);
	assert_int_equal(f->turns[0], 2);
	assert_int_equal(f->turns[999], 2);
}

static void nobody_has_a_turn_once_it_is_stopped(void **state)
{
	struct fixture *f = *state;

	change(f);
	change(f);
	rounds_stop(&f->rounds);
	pass(f, 2 * ROUND_US);
	assert_int_equal(behind(f), 1000);
	change(f);
	assert_int_equal(behind(f), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_comes_alone_goes_at_once),
		TEST(few_never_wait),
		TEST(the_second_one_goes_round),
		TEST(a_burst_is_one_push_in_a_round),
		TEST(a_round_is_no_longer_with_more_clients),
		TEST(who_was_held_up_serves_each_once),
		TEST(nobody_has_a_turn_once_it_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

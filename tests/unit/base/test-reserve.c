/* SPDX-License-Identifier: Apache-2.0 */
/* reserve - what is held back is given piece by piece, the smallest that will do, and comes back,
 * in fragments where there is nothing else. */
#include "base/reserve.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* What malloc() has: nothing larger. */
static size_t largest = SIZE_MAX;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	/* a failure of ours asks for nothing of ours */
	assert_false(size > largest && reserve_give(1));
	return size > largest ? NULL : __real_malloc(size);
}

static size_t give_all(size_t size)
{
	size_t n = 0;

	while (reserve_give(size))
		n++;
	return n;
}

static int teardown(void **state)
{
	largest = SIZE_MAX;
	reserve_drop();
	return 0;
}

static void what_was_given_comes_back(void **state)
{
	assert_true(reserve_is_whole());
	assert_false(reserve_give(1));
	for (int i = 0; i < 3; i++) {
		assert_true(reserve_fill());
		assert_true(reserve_is_whole());
		assert_true(reserve_give(1));
		assert_false(reserve_is_whole());
		assert_int_equal(give_all(RESERVE_PIECE_MAX), RESERVE_SIZE / RESERVE_PIECE_MAX - 1);
	}
	largest = 0;
	assert_false(reserve_fill());
	assert_false(reserve_is_whole());
	reserve_drop();
	assert_true(reserve_is_whole());
}

static void more_than_a_piece_is_not_given(void **state)
{
	assert_true(reserve_fill());
	assert_false(reserve_give(RESERVE_PIECE_MAX + 1));
	assert_false(reserve_give(SIZE_MAX));
	assert_true(reserve_is_whole());
}

static void fragments_do_and_the_smallest_goes_first(void **state)
{
	const size_t small = RESERVE_SIZE - 2 * RESERVE_PIECE_MAX;

	assert_true(reserve_fill());
	for (size_t left = small; left > 0; left -= RESERVE_PIECE_MAX)
		assert_true(reserve_give(1));
	largest = RESERVE_PIECE_MIN;
	assert_true(reserve_fill());
	for (size_t left = small; left > 0; left -= RESERVE_PIECE_MIN)
		assert_true(reserve_give(RESERVE_PIECE_MIN));
	/* the two large ones were spared */
	assert_int_equal(give_all(RESERVE_PIECE_MAX), 2);
	largest = RESERVE_PIECE_MIN - 1;
	assert_false(reserve_fill());
}

static void *other_thread(void *arg)
{
	*(int *)arg = reserve_is_whole() && !reserve_give(1);
	return NULL;
}

static void a_thread_has_its_own(void **state)
{
	pthread_t t;
	int is_apart = 0;

	assert_true(reserve_fill());
	assert_true(reserve_give(1));
	assert_int_equal(pthread_create(&t, NULL, other_thread, &is_apart), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_true(is_apart);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_was_given_comes_back, teardown),
		cmocka_unit_test_teardown(more_than_a_piece_is_not_given, teardown),
		cmocka_unit_test_teardown(fragments_do_and_the_smallest_goes_first, teardown),
		cmocka_unit_test_teardown(a_thread_has_its_own, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

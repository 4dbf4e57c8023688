/* SPDX-License-Identifier: Apache-2.0 */
/* histogram - every value is found again within 1.6 %, from nanoseconds to minutes. */
#include "tests/bench/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void one_value_is_found_again(void **state)
{
	for (uint64_t ns = 1; ns < 100ULL * 1000000000; ns = ns * 5 / 4 + 1) {
		struct histogram h = {0};
		double found;

		histogram_add(&h, ns);
		found = histogram_at(&h, 0.5);
		assert_true(found <= (double)ns);
		assert_true((double)ns - found <= 0.016 * (double)ns);
	}
}

static void shares_are_of_all_values(void **state)
{
	struct histogram h = {0};

	for (uint64_t i = 1; i <= 1000; i++)
		histogram_add(&h, i * 1000);
	assert_in_range((uintmax_t)histogram_at(&h, 0.5), 490000, 501000);
	assert_in_range((uintmax_t)histogram_at(&h, 0.99), 975000, 991000);
	assert_in_range((uintmax_t)histogram_at(&h, 0), 984, 1000);
}

static void the_highest_take_the_last_bucket(void **state)
{
	struct histogram h = {0};

	histogram_add(&h, UINT64_MAX);
	assert_int_equal(h.bucket[HISTOGRAM_SIZE - 1], 1);
	assert_true(histogram_at(&h, 0.5) > 1e12);
}

static void an_empty_one_says_nothing(void **state)
{
	struct histogram h = {0};

	assert_true(histogram_at(&h, 0.99) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_value_is_found_again),
		cmocka_unit_test(shares_are_of_all_values),
		cmocka_unit_test(the_highest_take_the_last_bucket),
		cmocka_unit_test(an_empty_one_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

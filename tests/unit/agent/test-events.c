/* SPDX-License-Identifier: Apache-2.0 */
/* events - drops are named from the one list; log lines are limited. */
#include "userspace/agent/events.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void reasons_have_labels_and_sentences(void **state)
{
	for (uint32_t i = 0; i < CV_REASON_MAX; i++) {
		assert_non_null(reason_label(i));
		assert_non_null(reason_sentence(i));
	}
	assert_string_equal(reason_label(CV_DROP_ZTUNNEL_DEAD), "ztunnel_dead");
	assert_string_equal(reason_label(CV_REASON_MAX), "unknown");
	assert_string_equal(reason_sentence(UINT32_MAX), "unknown");
}

static void a_burst_passes_and_then_the_rate(void **state)
{
	struct limiter l = {.per_second = 10, .burst = 5};
	uint64_t now = 1000000000;
	int passed = 0;

	for (int i = 0; i < 100; i++)
		passed += limiter_take(&l, now);
	assert_int_equal(passed, 5);
	assert_int_equal(l.suppressed, 95);
	for (int i = 0; i < 100; i++)
		passed += limiter_take(&l, now += 10000);
	assert_in_range(passed, 14, 16);
	assert_true(limiter_take(&l, now + 10000000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reasons_have_labels_and_sentences),
		cmocka_unit_test(a_burst_passes_and_then_the_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

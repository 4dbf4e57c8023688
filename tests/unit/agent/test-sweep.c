/* SPDX-License-Identifier: Apache-2.0 */
/* sweep - what is old, and what is not. */
#include "userspace/agent/sweep.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void entries_are_old_after_180_seconds(void **state)
{
	const uint64_t second = 1000000000;

	assert_false(sweep_is_old(1000 * second, 1000 * second));
	assert_false(sweep_is_old(1000 * second, 1180 * second));
	assert_true(sweep_is_old(1000 * second, 1180 * second + 1));
	/* written after "now" was read */
	assert_false(sweep_is_old(1001 * second, 1000 * second));
	assert_true(sweep_is_old(0, UINT64_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_are_old_after_180_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* features - the switch by which tests make a newer kernel serve as an older one. */
#include "userspace/agent/features.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void as_level(const char *level)
{
	assert_return_code(level ? setenv("CULVERT_KERNEL_LEVEL", level, 1)
				 : unsetenv("CULVERT_KERNEL_LEVEL"),
			   0);
}

static void without_a_level_nothing_is_off(void **state)
{
	as_level(NULL);
	assert_false(features_is_off("99.1"));
}

static void what_came_later_is_off(void **state)
{
	as_level("5.15");
	assert_true(features_is_off("5.18"));
	assert_true(features_is_off("6.1"));
	assert_false(features_is_off("5.15"));
	assert_false(features_is_off("5.8"));
	assert_false(features_is_off("4.20"));
	as_level(NULL);
}

static void an_unreadable_level_switches_all_off(void **state)
{
	as_level("old");
	assert_true(features_is_off("2.6"));
	as_level(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_level_nothing_is_off),
		cmocka_unit_test(what_came_later_is_off),
		cmocka_unit_test(an_unreadable_level_switches_all_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* scratch - memory for one message: zeroed, and gone at once. */
#include "model/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void scratch_memory_is_zeroed(void **state)
{
	struct scratch a = {0};
	const uint8_t *p = scratch_alloc(&a, 100);

	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	assert_string_equal(scratch_format(&a, "%s-%d", "x", 7), "x-7");
	assert_string_equal(scratch_format(&a, "%s", ""), "");
	assert_int_equal(a.error, 0);
	scratch_reset(&a);
	assert_null(a.blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scratch_memory_is_zeroed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* index - what is filed is found, and gone when it is taken out. */
#include "base/index.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void files_and_finds(void **state)
{
	struct index_link a = {0}, b = {0}, c = {0};
	struct index ix = {0};
	int x, y, z, sum = 0;
	const struct index_link *l;

	x = 1, y = 2, z = 4;
	assert_int_equal(index_init(&ix), 0);
	assert_null(index_find(&ix, "k"));
	assert_int_equal(index_add(&ix, "k", &x, &a), 0);
	assert_int_equal(index_add(&ix, "k", &y, &b), 0);
	assert_int_equal(index_add(&ix, "other", &z, &c), 0);
	index_for_each(l, index_find(&ix, "k")) sum += *(int *)l->owner;
	assert_int_equal(sum, 3);
	assert_int_equal(index_count(&ix, "k"), 2);
	index_del(&ix, &a);
	index_del(&ix, &a);
	assert_int_equal(index_count(&ix, "k"), 1);
	index_del(&ix, &b);
	assert_null(index_find(&ix, "k"));
	assert_int_equal(index_count(&ix, "other"), 1);
	index_done(&ix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_and_finds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* shares - who has most gives way, until nobody would gain by it. */
#include "net/shares.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/addr.h"

static void who_has_most_gives_way(void **state)
{
	struct cv_addr a, b;
	struct shares *s;
	struct share *of_a, *of_b;

	assert_int_equal(cv_addr_parse("10.0.0.1", &a), 0);
	assert_int_equal(cv_addr_parse("fd00::1", &b), 0);
	assert_int_equal(shares_new(&s), 0);
	assert_null(shares_most(s));
	assert_false(shares_must_yield(NULL, 0));
	of_a = shares_take(s, &a);
	assert_ptr_equal(shares_take(s, &a), of_a);
	of_b = shares_take(s, &b);
	assert_ptr_not_equal(of_a, of_b);
	assert_int_equal(shares_of(s, &a), 2);
	assert_ptr_equal(shares_most(s), of_a);
	/* they would only change places */
	assert_false(shares_must_yield(of_a, shares_of(s, &b)));
	assert_ptr_equal(shares_take(s, &a), of_a);
	assert_true(shares_must_yield(of_a, shares_of(s, &b)));
	shares_give_back(s, of_b);
	assert_int_equal(shares_of(s, &b), 0);
	for (int i = 0; i < 3; i++)
		shares_give_back(s, of_a);
	assert_null(shares_most(s));
	assert_non_null(shares_take(s, &b)); /* left for shares_free() */
	(void)shares_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_most_gives_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

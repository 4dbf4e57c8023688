/* SPDX-License-Identifier: Apache-2.0 */
/* penalty - who flooded is not heard for a while; the oldest entry makes room. */
#include "ztunnel/penalty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct cv_addr addr(uint8_t last)
{
	struct cv_addr a = {0};

	a.bytes[15] = last;
	return a;
}

static void a_peer_is_not_heard_until_its_time_is_over(void **state)
{
	const struct cv_addr one = addr(1), two = addr(2);
	struct penalty p = {0};

	assert_false(penalty_is_on(&p, &one, 0));
	penalty_add(&p, &one, 1000);
	assert_true(penalty_is_on(&p, &one, 1000));
	assert_true(penalty_is_on(&p, &one, 1000 + PENALTY_US - 1));
	assert_false(penalty_is_on(&p, &one, 1000 + PENALTY_US));
	assert_false(penalty_is_on(&p, &two, 1000));
}

static void the_oldest_makes_room(void **state)
{
	struct cv_addr a = addr(1);
	struct penalty p = {0};

	for (uint8_t i = 1; i <= PENALTY_MAX + 1; i++) {
		a = addr(i);
		penalty_add(&p, &a, 0);
	}
	assert_true(penalty_is_on(&p, &a, 0));
	a = addr(2);
	assert_true(penalty_is_on(&p, &a, 0));
	a = addr(1);
	assert_false(penalty_is_on(&p, &a, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peer_is_not_heard_until_its_time_is_over),
		cmocka_unit_test(the_oldest_makes_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

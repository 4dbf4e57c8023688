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
	penalty_add(&p, &one, PENALTY_FLOOD, 1000);
	assert_true(penalty_is_on(&p, &one, 1000));
	assert_true(penalty_is_on(&p, &one, 1000 + PENALTY_US - 1));
	assert_false(penalty_is_on(&p, &one, 1000 + PENALTY_US));
	assert_false(penalty_is_on(&p, &two, 1000));
}

static void who_floods_again_is_not_heard_for_longer(void **state)
{
	const struct cv_addr one = addr(1);
	struct penalty p = {0};
	uint64_t now = 1000, before = 0, silence = 0;
	int floods = 0;

	/* It is back the moment it is heard. */
	for (; now < 20 * PENALTY_US_MAX; floods++) {
		before = silence;
		penalty_add(&p, &one, PENALTY_FLOOD, now);
		for (silence = 0; penalty_is_on(&p, &one, now + silence); silence += 1000)
			;
		assert_true(silence >= PENALTY_US && silence <= PENALTY_US_MAX + 1000);
		now += silence;
	}
	assert_true(floods < 40); /* of 160 with the same silence each time */
	assert_true(silence > PENALTY_US && before > PENALTY_US);
	now += PENALTY_LEAK_US * PENALTY_FLOOD * PENALTY_US_MAX / PENALTY_US;
	penalty_add(&p, &one, PENALTY_FLOOD, now);
	assert_false(penalty_is_on(&p, &one, now + PENALTY_US));
}

static void some_protocol_errors_are_forgiven(void **state)
{
	const struct cv_addr one = addr(1);
	struct penalty p = {0};
	uint64_t now = 1000;

	for (int i = 0; i < PENALTY_FLOOD - 1; i++)
		penalty_add(&p, &one, PENALTY_PROTOCOL, now);
	assert_false(penalty_is_on(&p, &one, now));
	for (int i = 0; i < 100; i++) {
		now += PENALTY_LEAK_US;
		assert_false(penalty_is_on(&p, &one, now));
		penalty_add(&p, &one, PENALTY_PROTOCOL, now);
	}
	penalty_add(&p, &one, PENALTY_PROTOCOL, now);
	assert_true(penalty_is_on(&p, &one, now));
}

static void the_oldest_makes_room(void **state)
{
	struct cv_addr a = addr(1);
	struct penalty p = {0};

	for (uint8_t i = 1; i <= PENALTY_MAX + 1; i++) {
		a = addr(i);
		penalty_add(&p, &a, PENALTY_FLOOD, 0);
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
		cmocka_unit_test(who_floods_again_is_not_heard_for_longer),
		cmocka_unit_test(some_protocol_errors_are_forgiven),
		cmocka_unit_test(the_oldest_makes_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

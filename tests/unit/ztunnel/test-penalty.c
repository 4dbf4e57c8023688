/* SPDX-License-Identifier: Apache-2.0 */
/* penalty - who flooded is not heard for a while; who did least makes room. */
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

/* Whoever has enough addresses. */
static void nobody_gets_heard_by_others_mistakes(void **state)
{
	const struct cv_addr one = addr(255);
	struct penalty p = {0};

	penalty_add(&p, &one, PENALTY_FLOOD, 1000);
	for (int k = 0; k < 4; k++)
		for (uint8_t i = 1; i <= PENALTY_MAX; i++) {
			struct cv_addr a = addr(i);

			penalty_add(&p, &a, PENALTY_PROTOCOL, 1000);
		}
	assert_true(penalty_is_on(&p, &one, 1000));
}

static void who_floods_has_a_place_among_many(void **state)
{
	struct penalty p = {0};
	uint64_t now = 1000;

	for (int k = 0; k < 3; k++) {
		const struct cv_addr late = addr(255);

		for (uint8_t i = 1; i <= PENALTY_MAX; i++) {
			struct cv_addr a = addr(i);

			penalty_add(&p, &a, PENALTY_FLOOD, now);
			assert_true(penalty_is_on(&p, &a, now));
		}
		penalty_add(&p, &late, PENALTY_FLOOD, now);
		assert_true(penalty_is_on(&p, &late, now));
		now += PENALTY_LEAK_US * PENALTY_FLOOD * PENALTY_US_MAX / PENALTY_US;
	}
}

/* What has leaked away takes no place, however little it is that comes. */
static void an_empty_bucket_makes_room_for_anything(void **state)
{
	const struct cv_addr one = addr(255);
	struct penalty p = {0};
	uint64_t now = 1000;

	for (uint8_t i = 1; i <= PENALTY_MAX; i++) {
		struct cv_addr a = addr(i);

		penalty_add(&p, &a, PENALTY_FLOOD, now);
	}
	now += PENALTY_LEAK_US * PENALTY_FLOOD;
	for (int i = 0; i < PENALTY_FLOOD; i++)
		penalty_add(&p, &one, PENALTY_PROTOCOL, now);
	assert_true(penalty_is_on(&p, &one, now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peer_is_not_heard_until_its_time_is_over),
		cmocka_unit_test(who_floods_again_is_not_heard_for_longer),
		cmocka_unit_test(some_protocol_errors_are_forgiven),
		cmocka_unit_test(nobody_gets_heard_by_others_mistakes),
		cmocka_unit_test(who_floods_has_a_place_among_many),
		cmocka_unit_test(an_empty_bucket_makes_room_for_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

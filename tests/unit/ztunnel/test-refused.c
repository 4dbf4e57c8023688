/* SPDX-License-Identifier: Apache-2.0 */
/* refused - who floods is told from who has nobody to talk to. */
#include "ztunnel/refused.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/ztunnel/mesh.h"

#define SECOND_US 1000000ULL

struct peer {
	struct refused *r;
	struct cv_addr addr;
	struct refused_tunnel tunnel;
	uint64_t now_us;
};

static int setup(void **state)
{
	struct peer *p = calloc(1, sizeof(*p));

	p->r = calloc(1, sizeof(*p->r));
	p->addr = mesh_addr("10.0.0.1");
	p->now_us = 1000 * SECOND_US;
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	free(((struct peer *)*state)->r);
	free(*state);
	return 0;
}

/* ask() - @per_s streams a second for @seconds, all refused. Return: how many before it was a
 * flood. */
static uint64_t ask(struct peer *p, uint64_t per_s, uint64_t seconds)
{
	for (uint64_t n = 0; n < per_s * seconds; n++) {
		if (refused_is_flood(p->r, &p->addr, &p->tunnel, p->now_us))
			return n;
		refused_add(p->r, &p->addr, &p->tunnel, p->now_us);
		p->now_us += SECOND_US / per_s;
	}
	return per_s * seconds;
}

TEST(a_client_whose_target_refuses_asks_on)
{
	assert_int_equal(ask(*cmocka_state, 1000, 600), 600000);
}

TEST(a_very_busy_one_does_so_for_seconds)
{
	assert_int_equal(ask(*cmocka_state, 10000, 2), 20000);
}

TEST(who_asks_without_end_floods)
{
	struct peer *p = *cmocka_state;

	assert_in_range(ask(p, 100000, 10), REFUSED_LIMIT, REFUSED_LIMIT + 500);
	/* heard again after a while, for as long a while */
	p->now_us += 2 * SECOND_US;
	assert_in_range(ask(p, 100000, 10), 4000, 4100);
}

TEST(what_is_taken_is_earned_back)
{
	struct peer *p = *cmocka_state;

	for (int i = 0; i < 10 * REFUSED_LIMIT; i++) {
		assert_false(refused_is_flood(p->r, &p->addr, &p->tunnel, p->now_us));
		refused_add(p->r, &p->addr, &p->tunnel, p->now_us);
		refused_earn(p->r, &p->addr, &p->tunnel);
	}
}

/* However many there are, and some of them fall together with him in the table. */
TEST(others_are_not_meant)
{
	struct peer *p = *cmocka_state;

	(void)ask(p, 100000, 1);
	for (unsigned int i = 0; i < 4 * REFUSED_PEERS; i++) {
		struct cv_addr a = mesh_addr("10.1.0.0");
		struct refused_tunnel tunnel = {.credit = -1};

		a.bytes[14] = (uint8_t)(i >> 8);
		a.bytes[15] = (uint8_t)i;
		assert_false(refused_is_flood(p->r, &a, &tunnel, p->now_us));
		refused_add(p->r, &a, &tunnel, p->now_us);
		refused_earn(p->r, &a, &tunnel);
	}
	assert_true(refused_is_flood(p->r, &p->addr, &p->tunnel, p->now_us));
}

/* A client of two pods, one of which is down: its tunnel to the other goes on, now and then refused
 * a stream as it is. */
TEST(a_tunnel_that_has_no_part_in_it_goes_on)
{
	struct peer *p = *cmocka_state;
	struct refused_tunnel new = {0}, old = {0};

	for (int i = 0; i < 10; i++)
		refused_earn(p->r, &p->addr, &old);
	for (int i = 0; i < 10; i++) {
		(void)ask(p, 100000, 1);
		assert_true(refused_is_flood(p->r, &p->addr, &p->tunnel, p->now_us));
		assert_false(refused_is_flood(p->r, &p->addr, &new, p->now_us));
		assert_false(refused_is_flood(p->r, &p->addr, &old, p->now_us));
		refused_add(p->r, &p->addr, &old, p->now_us);
	}
}

/* However much has been taken, it is not good for as much again. */
TEST(a_tunnel_takes_part_once_more_is_refused_than_taken)
{
	struct peer *p = *cmocka_state;
	struct refused_tunnel tunnel = {0};
	int n = 0;

	for (int i = 0; i < 10 * REFUSED_CREDIT; i++)
		refused_earn(p->r, &p->addr, &tunnel);
	(void)ask(p, 100000, 1);
	for (; !refused_is_flood(p->r, &p->addr, &tunnel, p->now_us); n++)
		refused_add(p->r, &p->addr, &tunnel, p->now_us);
	assert_int_equal(n, REFUSED_CREDIT + 1);
	refused_earn(p->r, &p->addr, &tunnel);
	refused_add(p->r, &p->addr, &p->tunnel, p->now_us);
	assert_false(refused_is_flood(p->r, &p->addr, &tunnel, p->now_us));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_client_whose_target_refuses_asks_on),
		T(a_very_busy_one_does_so_for_seconds),
		T(who_asks_without_end_floods),
		T(what_is_taken_is_earned_back),
		T(others_are_not_meant),
		T(a_tunnel_that_has_no_part_in_it_goes_on),
		T(a_tunnel_takes_part_once_more_is_refused_than_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

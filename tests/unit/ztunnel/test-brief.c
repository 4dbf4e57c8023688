/* SPDX-License-Identifier: Apache-2.0 */
/* brief - what ended lately after a short life is counted, by how many were open at a time; what
 * lasted, and what was long ago, is not. */
#include "ztunnel/brief.h"

#include "tests/unit/ztunnel/mesh.h"

#define LIFE_US  2000ULL
#define START_US (3600 * 1000000ULL)

/* churn() - @parallel at a time, each for LIFE_US, one generation after the other for @spans.
 * Return: the time then. */
static uint64_t churn(struct brief *b, uint64_t now, unsigned int parallel, unsigned int spans)
{
	for (uint64_t end = now + spans * BRIEF_US; now < end;) {
		now += LIFE_US;
		for (unsigned int i = 0; i < parallel; i++)
			brief_ended(b, now, now - LIFE_US);
	}
	return now;
}

TEST(there_are_none_before_the_first_has_ended)
{
	const struct brief b = {0};

	assert_int_equal(brief_open(&b, 0), 0);
	assert_int_equal(brief_open(&b, START_US), 0);
}

TEST(they_count_as_many_as_were_open_at_a_time)
{
	struct brief b = {0};
	uint64_t now = churn(&b, START_US, 16, 5);

	assert_int_equal(brief_open(&b, now), 16);
	/* the next generation is half way: nothing has ended since */
	assert_in_range(brief_open(&b, now + LIFE_US / 2), 15, 16);
	now = churn(&b, now, 3, 5);
	assert_int_equal(brief_open(&b, now), 3);
}

TEST(it_takes_a_moment_to_know)
{
	struct brief b = {0};
	uint64_t now = START_US;

	for (int i = 0; i < 8; i++)
		brief_ended(&b, now, now - LIFE_US);
	/* one bunch is no stream of them */
	assert_int_equal(brief_open(&b, now), 1);
	for (uint64_t end = now + 2 * BRIEF_MIN_US; now < end;) {
		now += LIFE_US;
		for (unsigned int i = 0; i < 16; i++)
			brief_ended(&b, now, now - LIFE_US);
	}
	assert_in_range(brief_open(&b, now), 15, 17);
}

TEST(one_at_a_time_with_pauses_is_none)
{
	struct brief b = {0};
	uint64_t now = START_US;

	for (int i = 0; i < 100; i++) {
		now += 10 * LIFE_US;
		brief_ended(&b, now, now - LIFE_US);
		assert_int_equal(brief_open(&b, now), 0);
	}
}

TEST(what_lasts_is_not_counted)
{
	struct brief b = {0};

	for (uint64_t i = 0; i < 1000; i++)
		brief_ended(&b, START_US + i, START_US + i - BRIEF_US);
	assert_int_equal(brief_open(&b, START_US + 1000), 0);
}

TEST(it_is_forgotten_when_it_is_over)
{
	struct brief b = {0};
	uint64_t now = churn(&b, START_US, 16, 5);

	assert_true(brief_open(&b, now + BRIEF_US / 2) > 0);
	assert_int_equal(brief_open(&b, now + 2 * BRIEF_US), 0);
	assert_int_equal(brief_open(&b, now + 1000 * BRIEF_US), 0);
	/* what ends then begins from nothing */
	brief_ended(&b, now + 1000 * BRIEF_US, now + 1000 * BRIEF_US - LIFE_US);
	assert_int_equal(brief_open(&b, now + 1000 * BRIEF_US), 0);
}

TEST(the_clock_of_a_turn_may_be_older_than_the_connection)
{
	struct brief b = {0};

	brief_ended(&b, START_US, START_US + 50);
	assert_int_equal(brief_open(&b, START_US), 0);
	assert_int_equal(b.lived_us, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_are_none_before_the_first_has_ended),
		cmocka_unit_test(they_count_as_many_as_were_open_at_a_time),
		cmocka_unit_test(it_takes_a_moment_to_know),
		cmocka_unit_test(one_at_a_time_with_pauses_is_none),
		cmocka_unit_test(what_lasts_is_not_counted),
		cmocka_unit_test(it_is_forgotten_when_it_is_over),
		cmocka_unit_test(the_clock_of_a_turn_may_be_older_than_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* election - of two control planes one writes, never both; clocks of others do not matter. */
#include "userspace/control/election.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

#define SECOND 1000000ULL

/* The API server's side: one Lease, whose version a writer must know. */
struct server {
	json_t *lease;
	int version;
};

static struct election one, two;
static struct server server;

static int set_up(void **state)
{
	one = (struct election){.self = "one"};
	two = (struct election){.self = "two"};
	json_decref(server.lease);
	server = (struct server){0};
	return 0;
}

static int tear_down(void **state)
{
	json_decref(server.lease);
	server.lease = NULL;
	return 0;
}

static bool server_write(json_t *lease)
{
	json_t *metadata = json_object_get(lease, "metadata");
	const char *version = json_string_value(json_object_get(metadata, "resourceVersion"));
	char now[16];

	(void)snprintf(now, sizeof(now), "%d", server.version);
	if (server.lease ? !version || !streq(version, now) : version != NULL) {
		json_decref(lease);
		return false;
	}
	(void)snprintf(now, sizeof(now), "%d", ++server.version);
	(void)json_object_set_new(metadata, "resourceVersion", json_string(now));
	json_decref(server.lease);
	server.lease = lease;
	return true;
}

/* One round of a replica: look, and write where it may. @wall: its own idea of the time. */
static bool turn(struct election *e, uint64_t now, const char *wall)
{
	if (election_see(e, server.lease, now) == ELECTION_WAIT)
		return false;
	if (!server_write(election_lease(e, "istio-system", "x", wall, false))) {
		election_lost(e);
		return false;
	}
	election_won(e, server.lease, now);
	return true;
}

static const char *holder(void)
{
	return json_string_value(
		json_object_get(json_object_get(server.lease, "spec"), "holderIdentity"));
}

static void test_the_first_makes_the_lease_and_keeps_it(void **state)
{
	for (uint64_t t = 1; t < 100; t += 2) {
		assert_true(turn(&one, t * SECOND, "a"));
		assert_false(turn(&two, t * SECOND, "b"));
		assert_true(election_is_leader(&one, t * SECOND));
		assert_false(election_is_leader(&two, t * SECOND));
	}
	assert_string_equal(holder(), "one");
}

static void test_it_is_taken_over_after_its_duration_not_before(void **state)
{
	uint64_t t = SECOND;

	assert_true(turn(&one, t, "a"));
	assert_false(turn(&two, t, "b"));
	for (; t < 15 * SECOND; t += SECOND)
		assert_false(turn(&two, t, "b"));
	assert_true(turn(&two, 16 * SECOND, "b"));
	assert_string_equal(holder(), "two");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(server.lease, "spec"),
							    "leaseTransitions")),
			 1);
	/* the old one comes back, looks, and is none */
	assert_false(turn(&one, 17 * SECOND, "a"));
	assert_false(election_is_leader(&one, 17 * SECOND));
}

static void test_never_two_at_a_time_however_the_network_is_cut(void **state)
{
	bool is_one_cut = false;

	for (uint64_t t = 1; t < 400; t++) {
		uint64_t now = t * SECOND;

		/* one is cut from the API server again and again, for 30 s each time */
		is_one_cut = t / 30 % 2;
		if (!is_one_cut)
			(void)turn(&one, now, "a");
		(void)turn(&two, now, "b");
		assert_false(election_is_leader(&one, now) && election_is_leader(&two, now));
	}
}

static void test_times_of_day_do_not_matter(void **state)
{
	static const char *const walls[] = {"2026-01-01T00:00:00Z", "1970-01-01T00:00:00Z",
					    "2099-01-01T00:00:00Z", "nonsense", ""};
	uint64_t now = SECOND;

	for (size_t i = 0; i < ARRAY_SIZE(walls); i++, now += 2 * SECOND) {
		assert_true(turn(&one, now, walls[i]));
		assert_false(turn(&two, now, "2050-01-01T00:00:00Z"));
	}
	/* held since long ago by its own word, renewed by what we see: it waits all the same */
	assert_false(turn(&two, now + 12 * SECOND, ""));
	assert_true(turn(&two, now + 14 * SECOND, ""));
}

static void test_of_two_who_see_it_run_out_one_gets_it(void **state)
{
	struct election three = {.self = "three"};

	assert_true(turn(&one, SECOND, "a"));
	assert_int_equal(election_see(&two, server.lease, SECOND), ELECTION_WAIT);
	assert_int_equal(election_see(&three, server.lease, SECOND), ELECTION_WAIT);
	assert_int_equal(election_see(&two, server.lease, 17 * SECOND), ELECTION_UPDATE);
	assert_int_equal(election_see(&three, server.lease, 17 * SECOND), ELECTION_UPDATE);
	assert_true(server_write(election_lease(&three, "n", "x", "c", false)));
	assert_false(server_write(election_lease(&two, "n", "x", "b", false)));
}

static void test_a_released_one_is_free_at_once(void **state)
{
	assert_true(turn(&one, SECOND, "a"));
	assert_false(turn(&two, SECOND, "b"));
	election_lost(&one);
	assert_true(server_write(election_lease(&one, "n", "x", "a", true)));
	assert_true(turn(&two, 2 * SECOND, "b"));
}

static void test_a_leader_that_cannot_renew_stops_before_others_begin(void **state)
{
	assert_true(turn(&one, SECOND, "a"));
	assert_true(election_is_leader(&one, 10 * SECOND));
	assert_false(election_is_leader(&one, 11 * SECOND));
}

static void test_a_lease_of_the_wrong_shape_runs_out_too(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{\"spec\":7}",
		"{\"spec\":{\"holderIdentity\":7}}",
		"{\"spec\":{\"holderIdentity\":\"x\",\"leaseDurationSeconds\":-1}}",
		"{\"spec\":{\"holderIdentity\":\"x\",\"leaseDurationSeconds\":99999999999}}",
		"{\"metadata\":[],\"spec\":{\"holderIdentity\":\"x\",\"renewTime\":{}}}"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *lease = json_loads(texts[i], 0, NULL);
		struct election e = {.self = "one"};

		(void)election_see(&e, lease, SECOND);
		assert_false(election_is_leader(&e, SECOND));
		assert_int_equal(election_see(&e, lease, 17 * SECOND), ELECTION_UPDATE);
		json_decref(lease);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_first_makes_the_lease_and_keeps_it),
		TEST(test_it_is_taken_over_after_its_duration_not_before),
		TEST(test_never_two_at_a_time_however_the_network_is_cut),
		TEST(test_times_of_day_do_not_matter),
		TEST(test_of_two_who_see_it_run_out_one_gets_it),
		TEST(test_a_released_one_is_free_at_once),
		TEST(test_a_leader_that_cannot_renew_stops_before_others_begin),
		TEST(test_a_lease_of_the_wrong_shape_runs_out_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

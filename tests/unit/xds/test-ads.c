/* SPDX-License-Identifier: Apache-2.0 */
/* client and server - over a real UNIX socket: what changed and only that, nacks, reconnects, a
 * mesh larger than a batch. */
#include "tests/unit/xds/ads.h"

/* Until the server has heard that @n resources were taken. */
static void run_until_acked(struct fixture *f, uint64_t n)
{
	uint64_t end = now_monotonic_us() + 20000000;

	do {
		(void)loop_run_once(f->loop, 50);
		look(f);
	} while (f->seen.acked < n && now_monotonic_us() < end);
	assert_int_equal(f->seen.acked, n);
}

static void sends_nothing_before_the_first_flush(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_ADDRESS, "a", "1");
	run_a_while(f, 60);
	assert_int_equal(f->n_done[XDS_ADDRESS], 0);
	assert_false(f->is_connected);
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	assert_true(f->is_connected);
	assert_true(xds_client_is_connected(f->client));
	assert_string_equal(held(f, XDS_ADDRESS, "a"), "1");
}

static void an_empty_store_is_news_once(void **state)
{
	struct fixture *f = *state;

	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	xds_server_flush(f->xds);
	run_a_while(f, 40);
	assert_int_equal(f->n_done[XDS_AUTHORIZATION], 1);
	assert_int_equal(f->n_resources, 0);
}

static void sends_only_what_changed(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_ADDRESS, "a", "1");
	set(f, XDS_ADDRESS, "b", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	assert_int_equal(f->n_resources, 2);
	set(f, XDS_ADDRESS, "b", "2");
	set(f, XDS_ADDRESS, "a", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 2);
	assert_int_equal(f->n_resources, 3);
	assert_string_equal(held(f, XDS_ADDRESS, "b"), "2");
	xds_server_remove(f->xds, XDS_ADDRESS, "a");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 3);
	assert_null(held(f, XDS_ADDRESS, "a"));
	assert_int_equal(f->n_resources, 3);
}

static void a_node_sees_its_own_configuration_only(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_NODE_CONFIG, "*", "all");
	set(f, XDS_NODE_CONFIG, "n1", "mine");
	set(f, XDS_NODE_CONFIG, "n2", "theirs");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	assert_string_equal(held(f, XDS_NODE_CONFIG, "*"), "all");
	assert_string_equal(held(f, XDS_NODE_CONFIG, "n1"), "mine");
	assert_null(held(f, XDS_NODE_CONFIG, "n2"));
}

/* An agent sweeps its maps then. */
static void the_configuration_comes_when_all_the_rest_is_there(void **state)
{
	struct fixture *f = *state;

	set_many(f);
	set(f, XDS_NODE_CONFIG, "*", "all");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	assert_true(f->n_done[XDS_ADDRESS] > 1);
	assert_int_equal(f->n_before_config, MANY + 1);
	/* from then on each goes by itself */
	set(f, XDS_NODE_CONFIG, "*", "other");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 2);
}

static void a_refusal_keeps_the_good_and_reaches_the_server(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_AUTHORIZATION, "ns/bad", "1");
	set(f, XDS_AUTHORIZATION, "ns/good", "1");
	f->refused = "ns/bad";
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	run_a_while(f, 40);
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/good"), "1");
	look(f);
	assert_int_equal(f->n_seen, 1);
	assert_int_equal(f->seen.nacked, 1);
	assert_string_equal(f->seen_detail, "ns/bad: do not like it");
	assert_string_equal(f->seen.node_name, "n1");
	assert_string_equal(f->seen.version, "v7");
	/* no loop of refusals, and a later change goes through */
	assert_int_equal(f->n_done[XDS_AUTHORIZATION], 1);
	f->refused = NULL;
	set(f, XDS_AUTHORIZATION, "ns/bad", "2");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 2);
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/bad"), "2");
}

static void what_became_of_pushes_is_counted(void **state)
{
	struct fixture *f = *state;
	const struct push_stats *s = xds_server_stats(f->xds);

	set(f, XDS_ADDRESS, "a", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		assert_int_equal(s->pushes[type], 1);
	/* from when it was heard of, not from when it was worked out; a new client's share is no
	 * change */
	xds_server_note_change(f->xds);
	run_a_while(f, 60);
	set(f, XDS_ADDRESS, "a", "2");
	xds_server_flush(f->xds);
	run_until(f, &s->converged, 1);
	assert_true(s->converged_us >= 60000);
	assert_int_equal(s->pushes[XDS_ADDRESS], 2);
	assert_int_equal(s->converged_in[PUSH_BOUNDS - 1], 1);
	f->refused = "ns/bad";
	set(f, XDS_AUTHORIZATION, "ns/bad", "1");
	xds_server_flush(f->xds);
	run_until(f, &s->rejects[XDS_AUTHORIZATION], 1);
	assert_int_equal(s->rejects[XDS_ADDRESS], 0);
	assert_int_equal(s->converged, 1);
}

/* What comes while a response is under way is a change of its own. */
static void a_change_behind_a_response_counts_from_its_own_time(void **state)
{
	struct fixture *f = *state;
	const struct push_stats *s = xds_server_stats(f->xds);

	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	run_a_while(f, 40);
	set(f, XDS_ADDRESS, "a", "1");
	xds_server_flush(f->xds);
	set(f, XDS_ADDRESS, "a", "2");
	xds_server_flush(f->xds);
	run_until(f, &s->converged, 2);
	assert_string_equal(held(f, XDS_ADDRESS, "a"), "2");
	assert_int_equal(s->pushes[XDS_ADDRESS], 3);
	/* nothing changed: nothing to have */
	xds_server_flush(f->xds);
	run_a_while(f, 40);
	assert_int_equal(s->converged, 2);
}

/* Neither what is taken beside it nor a name that is like it ends a refusal; a version that is
 * taken does, and the resource's end. */
static void a_refusal_stands_until_it_is_mended(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_AUTHORIZATION, "ns/bad", "1");
	set(f, XDS_AUTHORIZATION, "ns/ba", "1");
	f->refused = "ns/bad";
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	set(f, XDS_AUTHORIZATION, "ns/other", "1");
	set(f, XDS_ADDRESS, "w", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 2);
	run_until_acked(f, 2);
	assert_string_equal(f->seen_detail, "ns/bad: do not like it");
	f->refused = NULL;
	set(f, XDS_AUTHORIZATION, "ns/bad", "2");
	xds_server_flush(f->xds);
	run_until_acked(f, 3);
	assert_string_equal(f->seen_detail, "");
	assert_int_equal(f->seen.nacked, 1);
	f->refused = "ns/bad";
	set(f, XDS_AUTHORIZATION, "ns/bad", "3");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 4);
	xds_server_remove(f->xds, XDS_AUTHORIZATION, "ns/bad");
	xds_server_flush(f->xds);
	run_until_acked(f, 4);
	assert_int_equal(f->seen.nacked, 2);
	assert_string_equal(f->seen_detail, "");
}

/* What is held in an older version is said to be so. */
static void a_refused_change_comes_again_with_the_next_server(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_AUTHORIZATION, "ns/p", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	f->refused = "ns/p";
	set(f, XDS_AUTHORIZATION, "ns/p", "2");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 2);
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/p"), "1");
	server_stop(f);
	f->refused = NULL;
	server_start(f);
	set(f, XDS_AUTHORIZATION, "ns/p", "2");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 3);
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/p"), "2");
}

/* Until then it is not a whole change, and nobody is told that it was refused. */
static void what_there_was_no_memory_for_comes_again(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_AUTHORIZATION, "ns/gone", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	f->lost = "ns/lost";
	f->kept = "ns/gone";
	set(f, XDS_AUTHORIZATION, "ns/lost", "1");
	set(f, XDS_AUTHORIZATION, "ns/other", "1");
	xds_server_remove(f->xds, XDS_AUTHORIZATION, "ns/gone");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 2);
	assert_int_equal(xds_client_part(f->client), XDS_PART_MORE);
	assert_false(f->is_connected);
	assert_non_null(strstr(f->failure, "no memory"));
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/other"), "1");
	f->lost = f->kept = NULL;
	run_until_done(f, XDS_AUTHORIZATION, 3);
	assert_true(f->is_connected);
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/lost"), "1");
	assert_null(held(f, XDS_AUTHORIZATION, "ns/gone"));
	assert_int_equal(xds_server_stats(f->xds)->rejects[XDS_AUTHORIZATION], 0);
}

static void a_new_server_sends_the_difference(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_ADDRESS, "same", "1");
	set(f, XDS_ADDRESS, "changed", "1");
	set(f, XDS_ADDRESS, "gone", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	server_stop(f);
	run_a_while(f, 80);
	assert_false(f->is_connected);
	/* nothing is forgotten while the control plane is away */
	assert_int_equal(map_count(f->held[XDS_ADDRESS]), 3);
	f->n_resources = 0;
	server_start(f);
	set(f, XDS_ADDRESS, "changed", "2");
	set(f, XDS_ADDRESS, "same", "1");
	set(f, XDS_ADDRESS, "new", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 2);
	assert_int_equal(f->n_resources, 2);
	assert_int_equal(f->n_removed, 1);
	assert_string_equal(held(f, XDS_ADDRESS, "changed"), "2");
	assert_string_equal(held(f, XDS_ADDRESS, "new"), "1");
	assert_string_equal(held(f, XDS_ADDRESS, "same"), "1");
	assert_null(held(f, XDS_ADDRESS, "gone"));
	assert_true(f->is_connected);
}

static void a_server_that_is_shut_takes_nothing_away(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_ADDRESS, "kept", "1");
	set(f, XDS_AUTHORIZATION, "ns/deny", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 1);
	xds_server_shut(f->xds, "nothing is heard of");
	turn_until(f->loop, 10000, !f->is_connected);
	assert_false(f->is_connected);
	xds_server_remove(f->xds, XDS_ADDRESS, "kept");
	xds_server_remove(f->xds, XDS_AUTHORIZATION, "ns/deny");
	set(f, XDS_ADDRESS, "half", "1");
	xds_server_flush(f->xds);
	run_a_while(f, 80);
	assert_false(f->is_connected);
	assert_non_null(strstr(f->failure, "nothing is heard of"));
	assert_int_equal(f->n_removed, 0);
	assert_null(held(f, XDS_ADDRESS, "half"));
	set(f, XDS_ADDRESS, "kept", "1");
	set(f, XDS_AUTHORIZATION, "ns/deny", "2");
	xds_server_remove(f->xds, XDS_ADDRESS, "half");
	xds_server_flush(f->xds);
	xds_server_shut(f->xds, NULL);
	run_until_done(f, XDS_AUTHORIZATION, 2);
	assert_int_equal(f->n_removed, 0);
	assert_string_equal(held(f, XDS_AUTHORIZATION, "ns/deny"), "2");
	assert_string_equal(held(f, XDS_ADDRESS, "kept"), "1");
}

static void a_whole_mesh_goes_in_batches(void **state)
{
	struct fixture *f = *state;

	set_many(f);
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, MANY / 1024 + 1);
	assert_int_equal(map_count(f->held[XDS_ADDRESS]), MANY);
	assert_int_equal(f->n_resources, MANY);
	for (int i = 0; i < MANY; i++)
		xds_server_remove(f->xds, XDS_ADDRESS, name_of(i));
	xds_server_flush(f->xds);
	run_a_while(f, 200);
	assert_int_equal(map_count(f->held[XDS_ADDRESS]), 0);
	run_a_while(f, 40);
	look(f);
	assert_int_equal(f->seen.acked, 2 * MANY);
}

/* The first round takes several responses: what was in one of them and goes before the next is
 * taken back, what never was sent is not sent. */
static void what_goes_during_the_first_round_is_taken_back(void **state)
{
	struct fixture *f = *state;

	set_many(f);
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	assert_true(map_count(f->held[XDS_ADDRESS]) < MANY);
	assert_non_null(held(f, XDS_ADDRESS, "w0"));
	xds_server_remove(f->xds, XDS_ADDRESS, "w0");
	assert_null(held(f, XDS_ADDRESS, name_of(MANY - 1)));
	xds_server_remove(f->xds, XDS_ADDRESS, name_of(MANY - 1));
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, MANY / 1024 + 1);
	assert_null(held(f, XDS_ADDRESS, "w0"));
	assert_null(held(f, XDS_ADDRESS, name_of(MANY - 1)));
	assert_int_equal(map_count(f->held[XDS_ADDRESS]), MANY - 2);
}

static void changes_in_flight_are_merged(void **state)
{
	struct fixture *f = *state;
	char value[16];

	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(value, sizeof(value), "%d", i);
		set(f, XDS_ADDRESS, "a", value);
		xds_server_flush(f->xds);
	}
	run_a_while(f, 100);
	assert_string_equal(held(f, XDS_ADDRESS, "a"), "999");
	assert_true(f->n_resources <= 3);
}

static void waits_for_a_server_that_is_not_there(void **state)
{
	struct fixture *f = *state;

	server_stop(f);
	(void)unlink(f->path);
	run_a_while(f, 100);
	assert_false(f->is_connected);
	/* told once, however often it is tried */
	assert_int_equal(f->n_failures, 1);
	assert_string_equal(xds_client_failure(f->client), f->failure);
	assert_non_null(strstr(f->failure, f->path));
	server_start(f);
	set(f, XDS_ADDRESS, "a", "1");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 1);
	assert_string_equal(held(f, XDS_ADDRESS, "a"), "1");
	assert_string_equal(xds_client_failure(f->client), "");
}

static void knows_its_types(void **state)
{
	for (int i = 0; i < XDS_TYPE_MAX; i++)
		assert_int_equal(xds_type_from_url(xds_type_url((enum xds_type)i)), i);
	assert_int_equal(xds_type_from_url("type.googleapis.com/istio.workload.Workload"),
			 XDS_TYPE_INVALID);
	assert_int_equal(xds_type_from_url(""), XDS_TYPE_INVALID);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(sends_nothing_before_the_first_flush),
		TEST(an_empty_store_is_news_once),
		TEST(sends_only_what_changed),
		TEST(a_node_sees_its_own_configuration_only),
		TEST(the_configuration_comes_when_all_the_rest_is_there),
		TEST(a_refusal_keeps_the_good_and_reaches_the_server),
		TEST(what_became_of_pushes_is_counted),
		TEST(a_change_behind_a_response_counts_from_its_own_time),
		TEST(a_refusal_stands_until_it_is_mended),
		TEST(a_refused_change_comes_again_with_the_next_server),
		TEST(what_there_was_no_memory_for_comes_again),
		TEST(a_new_server_sends_the_difference),
		TEST(a_server_that_is_shut_takes_nothing_away),
		TEST(a_whole_mesh_goes_in_batches),
		TEST(what_goes_during_the_first_round_is_taken_back),
		TEST(changes_in_flight_are_merged),
		TEST(waits_for_a_server_that_is_not_there),
		cmocka_unit_test(knows_its_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

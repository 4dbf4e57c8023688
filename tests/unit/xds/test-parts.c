/* SPDX-License-Identifier: Apache-2.0 */
/* client and server - a change that takes several responses, of several types: when it is whole. */
#include "tests/unit/xds/ads.h"

/* As the last response of one says, however many there were and of what types. */
static void the_end_of_a_change_is_told(void **state)
{
	struct fixture *f = *state;

	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	assert_int_equal(f->parts[f->n_parts - 1], XDS_PART_WHOLE);
	run_a_while(f, 40);
	f->n_parts = f->n_whole = 0;
	set(f, XDS_AUTHORIZATION, "ns/p", "1");
	set(f, XDS_NODE_CONFIG, "*", "1");
	set_many(f);
	xds_server_flush(f->xds);
	run_until(f, &xds_server_stats(f->xds)->converged, 3);
	/* five of addresses and one each of the others */
	assert_int_equal(f->n_parts, MANY / 1024 + 3);
	assert_int_equal(f->n_whole, 1);
	assert_int_equal(f->parts[f->n_parts - 1], XDS_PART_WHOLE);
	assert_int_equal(map_count(f->held[XDS_ADDRESS]), MANY);
	/* of one response */
	set(f, XDS_AUTHORIZATION, "ns/p", "2");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_AUTHORIZATION, 3);
	assert_int_equal(f->n_whole, 2);
}

/* Another node's configuration is no news here: nothing would close the change. */
static void the_end_is_told_where_the_rest_is_for_others(void **state)
{
	struct fixture *f = *state;

	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	run_a_while(f, 40);
	f->n_parts = 0;
	set(f, XDS_ADDRESS, "a", "1");
	set(f, XDS_NODE_CONFIG, "n2", "theirs");
	xds_server_flush(f->xds);
	run_until(f, &f->n_parts, 2);
	assert_int_equal(f->parts[0], XDS_PART_MORE);
	assert_int_equal(f->parts[1], XDS_PART_WHOLE);
	assert_int_equal(f->n_done[XDS_NODE_CONFIG], 1);
}

/* What closes a change does not hide the answer to what it closes. */
static void a_refusal_counts_where_the_rest_is_for_others(void **state)
{
	struct fixture *f = *state;

	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	run_a_while(f, 40);
	f->refused = "a";
	f->n_parts = 0;
	set(f, XDS_ADDRESS, "a", "1");
	set(f, XDS_NODE_CONFIG, "n2", "theirs");
	xds_server_flush(f->xds);
	run_until(f, &f->n_parts, 2);
	run_a_while(f, 40);
	assert_int_equal(f->parts[1], XDS_PART_WHOLE);
	assert_int_equal(xds_server_stats(f->xds)->rejects[XDS_ADDRESS], 1);
}

/* Who comes when the last change was a removal, which nobody is told any more. */
static void the_end_is_told_after_a_removal(void **state)
{
	struct fixture *f = *state;

	set(f, XDS_AUTHORIZATION, "ns/p", "1");
	xds_server_flush(f->xds);
	xds_server_remove(f->xds, XDS_AUTHORIZATION, "ns/p");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	run_a_while(f, 40);
	assert_int_equal(f->parts[f->n_parts - 1], XDS_PART_WHOLE);
}

/* Before what has come is acknowledged, whichever type it is of: then none goes out, lest each
 * goes while the other is behind, for ever. */
static void change_both(struct fixture *f, enum xds_type type)
{
	const struct push_stats before = *xds_server_stats(f->xds);
	char value[64];

	(void)snprintf(value, sizeof(value), "%zu %zu", f->n_done[XDS_ADDRESS],
		       f->n_done[XDS_AUTHORIZATION]);
	set(f, XDS_ADDRESS, "x", value);
	set(f, XDS_AUTHORIZATION, "x", value);
	xds_server_flush(f->xds);
	assert_memory_equal(before.pushes, xds_server_stats(f->xds)->pushes, sizeof(before.pushes));
}

static void changes_without_a_pause_come_to_an_end_each(void **state)
{
	struct fixture *f = *state;

	xds_server_flush(f->xds);
	run_until_done(f, XDS_NODE_CONFIG, 1);
	run_a_while(f, 40);
	f->n_whole = 0;
	f->on_done = change_both;
	set(f, XDS_ADDRESS, "x", "begin");
	xds_server_flush(f->xds);
	run_until_done(f, XDS_ADDRESS, 200);
	assert_true(f->n_whole >= 100);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_end_of_a_change_is_told),
		TEST(the_end_is_told_where_the_rest_is_for_others),
		TEST(a_refusal_counts_where_the_rest_is_for_others),
		TEST(the_end_is_told_after_a_removal),
		TEST(changes_without_a_pause_come_to_an_end_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* drops - what was refused is told apart from what was not, and added up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "userspace/cli/drops.h"
#include "userspace/cli/json.h"

static json_t *parse(const char *s)
{
	json_t *v = json_loads(s, JSON_DECODE_ANY, NULL);

	assert_non_null(v);
	return v;
}

static void drops_are_told_apart_from_paths(void **state)
{
	_cleanup_(json_decrefp) json_t *counters =
		parse("{\"tunnel\":5,\"no_steer\":2,\"map_full\":0,\"of_tomorrow\":1}");
	_cleanup_(json_decrefp) json_t *drops = json_array(), *all = json_array();
	_cleanup_(json_decrefp) json_t *later = json_array();

	drops_add_kernel(drops, "n1", counters, false);
	assert_int_equal(json_array_size(drops), 2);
	assert_string_equal(json_text(json_array_get(drops, 0), "reason", ""), "no_steer");
	assert_string_equal(json_text(json_array_get(drops, 1), "reason", ""), "of_tomorrow");
	drops_add_kernel(all, "n1", counters, true);
	assert_int_equal(json_array_size(all), 3);
	(void)json_object_set_new(counters, "no_steer", json_integer(12));
	drops_add_kernel(later, "n1", counters, false);
	drops_set_rates(later, drops, 2);
	assert_float_equal(
		json_number_value(json_object_get(json_array_get(later, 0), "perSecond")), 5, 0.01);
}

/* What the guards and the uplink's program stopped was refused, too. */
static void a_packet_that_was_stopped_is_a_drop(void **state)
{
	static const struct {
		const char *counters;
		size_t drops;
	} cases[] = {
		{"{\"guard_plaintext\":1,\"guard_source\":1,\"guard_fragment\":1}", 3},
		{"{\"guard_malformed\":1,\"guard_forged\":1}", 2},
		{"{\"uplink_plaintext\":1,\"uplink_denied\":1}", 2},
		{"{\"flow\":1,\"direct_untold\":1,\"nameserver_new\":1,\"excluded\":1}", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(json_decrefp) json_t *counters = parse(cases[i].counters);
		_cleanup_(json_decrefp) json_t *drops = json_array();

		drops_add_kernel(drops, "n1", counters, false);
		assert_int_equal(json_array_size(drops), cases[i].drops);
	}
}

/* One that is denied inside a node is told by either end, and is not two of one kind. */
static void ztunnels_refusals_are_told_by_direction_and_flag(void **state)
{
#define FAILED "culvert_connections_failed_total"
	static const struct {
		const char *direction, *reason;
		long count;
	} expected[] = {{"inbound", "DENY", 3}, {"outbound", "DENY", 4}, {"outbound", "NEW", 1}};
	_cleanup_(json_decrefp) json_t *drops = json_array(), *later = json_array();

	drops_add_ztunnel(drops, "n1",
			  "# HELP x\n" FAILED
			  "{reporter=\"destination\",response_flags=\"DENY\"} 3\n" FAILED
			  "{reporter=\"source\",response_flags=\"DENY\"} 4\n" FAILED
			  "{reporter=\"source\",response_flags=\"-\"} 9\n" FAILED
			  "{reporter=\"source\",response_flags=\"\n" FAILED "{}\n" FAILED
			  "{response_flags=\"DENY\"} 5\n"
			  "istio_tcp_connections_failed_total{reporter=\"source\","
			  "response_flags=\"DENY\"} 100\n" FAILED
			  "{reporter=\"source\",response_flags=\"NEW\"} 1");
	assert_int_equal(json_array_size(drops), ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const json_t *d = json_array_get(drops, i);

		assert_string_equal(json_text(d, "direction", ""), expected[i].direction);
		assert_string_equal(json_text(d, "reason", ""), expected[i].reason);
		assert_int_equal(json_number(d, "count"), expected[i].count);
	}
	drops_add_ztunnel(later, "n1", FAILED "{reporter=\"source\",response_flags=\"DENY\"} 6");
	drops_set_rates(later, drops, 2);
	assert_float_equal(
		json_number_value(json_object_get(json_array_get(later, 0), "perSecond")), 1, 0.01);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drops_are_told_apart_from_paths),
		cmocka_unit_test(a_packet_that_was_stopped_is_a_drop),
		cmocka_unit_test(ztunnels_refusals_are_told_by_direction_and_flag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

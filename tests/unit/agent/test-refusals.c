/* SPDX-License-Identifier: Apache-2.0 */
/* refusals - each kind once, bounded; what was counted and never told is known. */
#include "userspace/agent/refusals.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "net/addr.h"

static const uint64_t zeroes[CV_REASON_MAX];

static struct recall one(uint64_t at_us, const char *dst, uint32_t reason)
{
	struct recall r = {.last_us = at_us, .reason = reason, .src_name = "x/a", .comm = "curl"};

	assert_int_equal(cv_sockaddr_parse("10.0.0.1:0", &r.src), 0);
	assert_int_equal(cv_sockaddr_parse(dst, &r.dst), 0);
	return r;
}

static void add(struct refusals *m, uint64_t at_us, const char *dst, uint32_t reason)
{
	struct recall r = one(at_us, dst, reason);

	refusals_add(m, &r);
}

static const char *text(const json_t *list, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(list, i), key));
}

static json_int_t number(const json_t *list, size_t i, const char *key)
{
	return json_integer_value(json_object_get(json_array_get(list, i), key));
}

static void the_same_again_is_counted_and_comes_last(void **state)
{
	_cleanup_(refusals_freep) struct refusals *m = NULL;
	_cleanup_(json_decrefp) json_t *list = json_array();
	uint64_t since;

	assert_int_equal(refusals_new(zeroes, 1000, &m), 0);
	add(m, 2000, "10.0.0.2:80", CV_DROP_POLICY);
	add(m, 3000, "10.0.0.3:80", CV_DROP_POLICY);
	add(m, 4000, "10.0.0.2:80", CV_DROP_POLICY);
	add(m, 5000, "10.0.0.3:80", CV_DROP_ZTUNNEL_DEAD); /* another kind */
	assert_int_equal(refusals_to_json(m, list, &since), 0);
	assert_int_equal(since, 1000);
	assert_int_equal(json_array_size(list), 3);
	assert_string_equal(text(list, 0, "dst"), "10.0.0.3:80");
	assert_string_equal(text(list, 1, "dst"), "10.0.0.2:80");
	assert_int_equal(number(list, 1, "count"), 2);
	assert_int_equal(number(list, 1, "firstUs"), 2000);
	assert_int_equal(number(list, 1, "endedUs"), 4000);
	assert_string_equal(text(list, 1, "reason"), "policy");
	assert_string_equal(text(list, 1, "verdict"), "refused");
	assert_string_equal(text(list, 1, "path"), "none");
	assert_string_equal(text(list, 1, "srcNamespace"), "x");
	assert_string_equal(text(list, 1, "srcName"), "a");
	assert_string_equal(text(list, 1, "dstName"), "");
	assert_string_equal(text(list, 1, "process"), "curl");
	assert_string_equal(text(list, 2, "reason"), "ztunnel_dead");
}

/* The address may be another pod's by then: two sentences, each true. */
static void an_address_with_another_name_is_another_kind(void **state)
{
	_cleanup_(refusals_freep) struct refusals *m = NULL;
	_cleanup_(json_decrefp) json_t *list = json_array();
	struct recall r = one(2000, "10.0.0.2:80", CV_DROP_POLICY);
	uint64_t since;

	assert_int_equal(refusals_new(zeroes, 1000, &m), 0);
	(void)str_copy(r.dst_name, sizeof(r.dst_name), "x/b");
	refusals_add(m, &r);
	(void)str_copy(r.dst_name, sizeof(r.dst_name), "x/c");
	refusals_add(m, &r);
	assert_int_equal(refusals_to_json(m, list, &since), 0);
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text(list, 0, "dstName"), "b");
	assert_string_equal(text(list, 1, "dstName"), "c");
}

static void without_room_the_one_that_was_quiet_for_longest_goes(void **state)
{
	_cleanup_(refusals_freep) struct refusals *m = NULL;
	_cleanup_(json_decrefp) json_t *list = json_array();
	char dst[CV_SOCKADDR_STRLEN];
	struct cv_sockaddr sa;
	uint64_t since;

	assert_int_equal(refusals_new(zeroes, 1000, &m), 0);
	assert_int_equal(cv_sockaddr_parse("10.0.0.2:1", &sa), 0);
	for (unsigned i = 0; i < REFUSALS_MAX; i++) {
		sa.port = htons((uint16_t)(i + 1));
		add(m, 2000 + i, cv_sockaddr_format(&sa, dst), CV_DROP_POLICY);
	}
	add(m, 9000, "10.0.0.2:1", CV_DROP_POLICY); /* the oldest, again */
	add(m, 9001, "10.0.0.2:60000", CV_DROP_POLICY);
	assert_int_equal(refusals_to_json(m, list, &since), 0);
	assert_int_equal(json_array_size(list), REFUSALS_MAX);
	assert_int_equal(since, 2001); /* :2 is gone */
	assert_string_equal(text(list, 0, "dst"), "10.0.0.2:3");
	assert_string_equal(text(list, REFUSALS_MAX - 2, "dst"), "10.0.0.2:1");
	assert_int_equal(number(list, REFUSALS_MAX - 2, "count"), 2);
}

static void what_was_counted_and_not_told_is_lost(void **state)
{
	_cleanup_(refusals_freep) struct refusals *m = NULL;
	uint64_t counters[CV_REASON_MAX] = {[CV_DROP_POLICY] = 10, [CV_TUNNEL] = 5};

	assert_int_equal(refusals_new(counters, 1000, &m), 0);
	assert_int_equal(refusals_lost(m, counters), 0);
	counters[CV_DROP_POLICY] += 3;
	counters[CV_GUARD_SOURCE] += 1;
	counters[CV_TUNNEL] += 1000;          /* no refusal */
	counters[CV_UPLINK_PLAINTEXT] += 640; /* told one in many */
	assert_int_equal(refusals_lost(m, counters), 4);
	add(m, 999, "10.0.0.2:80", CV_DROP_POLICY); /* of before: counted before, too */
	add(m, 1000, "10.0.0.2:80", CV_DROP_POLICY);
	add(m, 1001, "10.0.0.2:80", CV_GUARD_SOURCE);
	add(m, 1002, "10.0.0.2:80", CV_UPLINK_PLAINTEXT);
	assert_int_equal(refusals_lost(m, counters), 2);
	for (int i = 0; i < 5; i++)
		add(m, 1003, "10.0.0.2:80", CV_DROP_POLICY);
	assert_int_equal(refusals_lost(m, counters), 0);
}

static void each_place_has_its_words(void **state)
{
	static const struct {
		enum recall_place place;
		uint32_t reason;
		const char *name, *verdict, *direction;
	} cases[] = {
		{RECALL_CONNECT, CV_DROP_REGISTRY_ONLY, "connect", "refused", "outbound"},
		{RECALL_HANDSHAKE, CV_DROP_MAP_FULL, "handshake", "dropped", "outbound"},
		{RECALL_LINK, CV_GUARD_PLAINTEXT, "link", "dropped", "outbound"},
		{RECALL_ARRIVAL, CV_DROP_NO_STEER, "arrival", "refused", "inbound"},
		{RECALL_UPLINK, CV_UPLINK_DENIED, "uplink", "dropped", "inbound"},
		{RECALL_CONNECT, CV_PASSTHROUGH, "connect", "passed", "outbound"},
		{RECALL_CONNECT, CV_EXCLUDED, "connect", "passed", "outbound"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(json_decrefp) json_t *list = json_array();
		struct recall r = one(1, "[fd00::1]:80", cases[i].reason);

		r.place = cases[i].place;
		memcpy(r.comm, "a\033\"\x80\0", 5);
		assert_int_equal(recall_to_json(&r, list), 0);
		assert_string_equal(text(list, 0, "place"), cases[i].name);
		assert_string_equal(text(list, 0, "verdict"), cases[i].verdict);
		assert_string_equal(text(list, 0, "direction"), cases[i].direction);
		assert_string_equal(text(list, 0, "process"), "a?\"?");
		assert_int_equal(number(list, 0, "toldOneIn"), r.place == RECALL_UPLINK ? 64 : 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_again_is_counted_and_comes_last),
		cmocka_unit_test(an_address_with_another_name_is_another_kind),
		cmocka_unit_test(without_room_the_one_that_was_quiet_for_longest_goes),
		cmocka_unit_test(what_was_counted_and_not_told_is_lost),
		cmocka_unit_test(each_place_has_its_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

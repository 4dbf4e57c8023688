/* SPDX-License-Identifier: Apache-2.0 */
/* history - the last ones are kept and the oldest forgotten; nothing that a peer says breaks it. */
#include "ztunnel/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/signal_values.h"
#include "ztunnel/telemetry.h"

static json_t *dump(struct history *h, uint64_t *ret_since)
{
	json_t *list = json_array();

	*ret_since = 0;
	assert_int_equal(history_to_json(h, list, ret_since), 0);
	return list;
}

static const char *text(const json_t *list, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(list, i), key));
}

static json_int_t number(const json_t *list, size_t i, const char *key)
{
	return json_integer_value(json_object_get(json_array_get(list, i), key));
}

TEST(an_empty_one_is_complete_since_its_start)
{
	uint64_t before = now_realtime_us(), since;
	struct history *h = NULL;
	json_t *list;

	assert_int_equal(history_new(&h), 0);
	list = dump(h, &since);
	assert_int_equal(json_array_size(list), 0);
	assert_in_range(since, before, now_realtime_us());
	json_decref(list);
	history_free(h);
}

TEST(it_wraps_and_says_since_when_it_is_complete)
{
	struct conn_info info = {.src = mesh_sockaddr("10.0.0.1:1"),
				 .dst = mesh_sockaddr("[fd00::2]:80")};
	struct history *h = NULL;
	uint64_t since;
	json_t *list;

	assert_int_equal(history_new(&h), 0);
	for (uint64_t i = 0; i < 2 * HISTORY_RECORDS + 3; i++) {
		info.bytes_to_server = i;
		history_add(h, &info, &(struct conn_end){.now_us = 1}, NULL);
	}
	list = dump(h, &since);
	assert_int_equal(json_array_size(list), HISTORY_RECORDS);
	assert_int_equal(number(list, 0, "bytesToServer"), HISTORY_RECORDS + 3);
	assert_int_equal(number(list, HISTORY_RECORDS - 1, "bytesToServer"),
			 2 * HISTORY_RECORDS + 2);
	assert_int_equal(since, number(list, 0, "endedUs"));
	assert_string_equal(text(list, 0, "dst"), "[fd00::2]:80");
	assert_string_equal(text(list, 0, "asked"), "[fd00::2]:80");
	json_decref(list);
	history_free(h);
}

TEST(what_is_huge_or_hostile_is_cut_and_made_harmless)
{
	static char huge[100000];
	struct conn_info info = {
		.is_mtls = true, .src_identity = huge, .dst_identity = "a\xff\033b"};
	struct history *h = NULL;
	uint64_t since;
	json_t *list;

	memset(huge, 'x', sizeof(huge) - 1);
	assert_int_equal(history_new(&h), 0);
	history_add(h, &info, &(struct conn_end){.error = "\n\"\\"}, NULL);
	history_add(h, &info, &(struct conn_end){.error = huge}, huge);
	list = dump(h, &since);
	assert_string_equal(text(list, 0, "error"), "?\"\\");
	assert_string_equal(text(list, 0, "dstIdentity"), "a??b");
	assert_string_equal(text(list, 0, "policy"), "");
	for (const char *const *key = (const char *const[]){"error", "policy", "srcIdentity", NULL};
	     *key; key++) {
		assert_true(strlen(text(list, 1, *key)) < 300);
		assert_true(str_has_suffix(text(list, 1, *key), "xx.."));
	}
	assert_string_equal(text(list, 1, "dstIdentity"), "a??b");
	json_decref(list);
	history_free(h);
}

TEST(every_odd_byte_is_found_wherever_it_stands)
{
	char error[24] = {0};
	struct history *h = NULL;
	uint64_t since;

	assert_int_equal(history_new(&h), 0);
	for (int byte = 1; byte < 256; byte++)
		for (size_t at = 0; at + 1 < sizeof(error); at++) {
			json_t *list;
			char want;

			memset(error, '~', sizeof(error) - 1);
			error[at] = (char)byte;
			want = byte >= ' ' && byte <= '~' ? (char)byte : '?';
			history_free(h);
			assert_int_equal(history_new(&h), 0);
			history_add(h, &(struct conn_info){0}, &(struct conn_end){.error = error},
				    NULL);
			list = dump(h, &since);
			error[at] = want;
			assert_string_equal(text(list, 0, "error"), error);
			json_decref(list);
		}
	history_free(h);
}

TEST(path_and_verdict_follow_from_how_it_went)
{
	static const struct {
		struct conn_info info;
		struct conn_end end;
		const char *path, *verdict;
	} cases[] = {
		{{.direction = CONN_OUTBOUND, .has_hbone = true},
		 {.was_open = true},
		 "tunnel",
		 "allowed"},
		{{.direction = CONN_OUTBOUND}, {CONN_CONNECT, "x", 0, false}, "none", "failed"},
		{{.direction = CONN_OUTBOUND, .is_plain = true},
		 {.was_open = true},
		 "passthrough",
		 "allowed"},
		{{.direction = CONN_INBOUND}, {CONN_DENY, "x", 0, false}, "plaintext", "denied"},
		{{.is_direct = true}, {CONN_DENY, "x", 0, true}, "direct", "cut"},
		{{.has_hbone = true}, {CONN_CERT_REVOKED, "x", 0, true}, "tunnel", "cut"},
		{{.has_hbone = true}, {CONN_OK, "x", 0, true}, "tunnel", "broken"},
	};
	struct history *h = NULL;
	uint64_t since;
	json_t *list;

	assert_int_equal(history_new(&h), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		history_add(h, &cases[i].info, &cases[i].end, NULL);
	list = dump(h, &since);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_string_equal(text(list, i, "path"), cases[i].path);
		assert_string_equal(text(list, i, "verdict"), cases[i].verdict);
	}
	json_decref(list);
	history_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_one_is_complete_since_its_start),
		cmocka_unit_test(it_wraps_and_says_since_when_it_is_complete),
		cmocka_unit_test(what_is_huge_or_hostile_is_cut_and_made_harmless),
		cmocka_unit_test(every_odd_byte_is_found_wherever_it_stands),
		cmocka_unit_test(path_and_verdict_follow_from_how_it_went),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

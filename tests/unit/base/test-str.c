/* SPDX-License-Identifier: Apache-2.0 */
/* str - numbers strictly, files whole or not at all. */
#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"

static void numbers_are_whole_and_in_range(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t value;
	} table[] = {
		{"0", 0, 0},
		{"65535", 0, 65535},
		{"007", 0, 7},
		{"65536", -ERANGE, 0},
		{"18446744073709551616", -ERANGE, 0},
		{"99999999999999999999999", -ERANGE, 0},
		{"", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{"0x10", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		uint64_t v = 77;

		assert_int_equal(str_parse_u64(table[i].text, 0, 65535, &v), table[i].r);
		assert_int_equal(v, table[i].r == 0 ? table[i].value : 77);
	}
}

static void the_largest_number_fits(void **state)
{
	uint64_t v = 0;

	assert_int_equal(str_parse_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(str_parse_u64("4", 5, 10, &v), -ERANGE);
}

static void prefixes_and_suffixes(void **state)
{
	assert_true(str_has_prefix("spiffe://x", "spiffe://"));
	assert_false(str_has_prefix("spif", "spiffe://"));
	assert_true(str_has_prefix("x", ""));
	assert_true(str_has_suffix("a.yaml", ".yaml"));
	assert_false(str_has_suffix("yaml", ".yaml"));
}

static void copies_are_whole_or_empty(void **state)
{
	char buf[4] = "zzz";

	assert_int_equal(str_copy(buf, sizeof(buf), "abc"), 0);
	assert_string_equal(buf, "abc");
	assert_int_equal(str_copy(buf, sizeof(buf), "abcd"), -ENOBUFS);
	assert_string_equal(buf, "");
	assert_int_equal(str_copy(buf, 0, "x"), -ENOBUFS);
}

static void texts_are_joined_as_far_as_they_fit(void **state)
{
	char buf[6] = "zzzzz";

	assert_int_equal(str_concat(buf, sizeof(buf), "a", "", "bc"), 3);
	assert_string_equal(buf, "abc");
	assert_int_equal(str_concat(buf, sizeof(buf), "abc", "de"), 5);
	assert_string_equal(buf, "abcde");
	assert_int_equal(str_concat(buf, sizeof(buf), "abc", "def", "g"), 5);
	assert_string_equal(buf, "abcde");
	assert_int_equal(str_concat(buf, 1, "x"), 0);
	assert_string_equal(buf, "");
	assert_int_equal(str_concat(buf, 0, "x"), 0);
}

static void what_is_no_utf8_becomes_a_question_mark(void **state)
{
	static const char *const pairs[][2] = {
		{"", ""},
		{"plain", "plain"},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80",
		 "\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80"},
		/* cut */
		{"a\xc3", "a?"},
		{"a\xe2\x82", "a??"},
		{"\xf0\x9f\x98g", "???g"},
		/* a byte of none, too long, a surrogate, beyond the last one */
		{"\xa4\xff", "??"},
		{"\xc0\x80\xe0\x80\xaf", "?????"},
		{"\xed\xa0\x80", "???"},
		{"\xf4\x90\x80\x80", "????"},
		{"\xf8\x88\x80\x80\x80", "?????"},
	};
	char buf[32];

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(str_copy(buf, sizeof(buf), pairs[i][0]), 0);
		assert_string_equal(str_utf8(buf), pairs[i][1]);
	}
}

static void bytes_in_hexadecimal_digits(void **state)
{
	char buf[9];

	str_hex("\x00\x9f\xf0\x0a", 4, buf);
	assert_string_equal(buf, "009ff00a");
	str_hex("", 0, buf);
	assert_string_equal(buf, "");
}

static void files_come_back_as_written(void **state)
{
	char dir[] = "/tmp/culvert-test-str.XXXXXX";
	_cleanup_(freep) char *path = NULL;
	_cleanup_(freep) char *text = NULL;
	_cleanup_(freep) char *big = calloc(1, 100000);
	struct stat st;
	size_t len = 0;

	assert_non_null(mkdtemp(dir));
	path = str_format("%s/a/b/file", dir);
	assert_non_null(big);
	assert_int_equal(file_write_atomic(path, "x", 1, 0600), -ENOENT);
	*strrchr(path, '/') = '\0';
	assert_int_equal(mkdir_p(path, 0700), 0);
	assert_int_equal(mkdir_p(path, 0700), 0);
	path[strlen(path)] = '/';
	assert_int_equal(file_write_atomic(path, big, 100000, 0640), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(file_read(path, 99999, &text, &len), -EFBIG);
	assert_null(text);
	assert_int_equal(file_read(path, 100000, &text, &len), 0);
	assert_int_equal(len, 100000);
	assert_int_equal(mkdir_p(path, 0700), -ENOTDIR);
	assert_int_equal(unlink(path), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void files_of_proc_are_read_whole(void **state)
{
	_cleanup_(freep) char *text = NULL;
	size_t len = 0;

	assert_int_equal(file_read("/proc/self/stat", 65536, &text, &len), 0);
	assert_true(len > 10);
	assert_int_equal(strlen(text), len);
	assert_int_equal(file_read("/nonexistent", 10, &text, NULL), -ENOENT);
	assert_int_equal(file_read("/", 10, &text, NULL), -EISDIR);
}

static void labels_of_metrics_are_words_that_are_not_prometheus_own(void **state)
{
	static const char *const good[] = {"a", "_", "request_host", "A1", "_1"};
	static const char *const bad[] = {"", "1a", "a-b", "a.b", "__name__", "a b", "\xc3\xa4"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(str_is_metric_label(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(str_is_metric_label(bad[i]));
}

static void random_bytes_differ(void **state)
{
	uint8_t a[32], b[32];

	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_whole_and_in_range),
		cmocka_unit_test(the_largest_number_fits),
		cmocka_unit_test(what_is_no_utf8_becomes_a_question_mark),
		cmocka_unit_test(prefixes_and_suffixes),
		cmocka_unit_test(copies_are_whole_or_empty),
		cmocka_unit_test(texts_are_joined_as_far_as_they_fit),
		cmocka_unit_test(bytes_in_hexadecimal_digits),
		cmocka_unit_test(labels_of_metrics_are_words_that_are_not_prometheus_own),
		cmocka_unit_test(files_come_back_as_written),
		cmocka_unit_test(files_of_proc_are_read_whole),
		cmocka_unit_test(random_bytes_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* passed - a real map: what is in it is told, room is made in time, and since when it is whole. */
#include "userspace/agent/passed.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "culvert/abi/maps.h"
#include "net/addr.h"

/* As in bpf/maps.h. */
static int map_make(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "cv_passed", sizeof(struct cv_passed_key),
				sizeof(struct cv_passed), CV_PASSED_MAX, &opts);

	if (fd == -EPERM || fd == -ENOSYS)
		skip();
	assert_true(fd >= 0);
	assert_int_equal(passed_start(fd), 0);
	return fd;
}

static struct cv_passed mark(int fd, uint32_t which)
{
	struct cv_passed_key key = {.reason = which};
	struct cv_passed p;

	assert_int_equal(bpf_map_lookup_elem(fd, &key, &p), 0);
	return p;
}

/* What the programs do with a new destination. */
static void put(int fd, unsigned int n, uint64_t last_ns)
{
	struct cv_passed_key key = {.netns_cookie = 7, .reason = CV_PASSTHROUGH};
	struct cv_passed_key made_key = {.reason = CV_PASSED_MADE};
	struct cv_passed value = {.first_ns = last_ns, .last_ns = last_ns, .count = 3};
	struct cv_passed made = mark(fd, CV_PASSED_MADE);

	assert_int_equal(cv_addr_parse("10.9.0.1", &key.addr), 0);
	assert_int_equal(cv_addr_parse("10.0.0.1", &value.src), 0);
	key.port = htons((uint16_t)n);
	(void)str_copy(value.pod, sizeof(value.pod), "x/a");
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_NOEXIST), 0);
	made.count++;
	assert_int_equal(bpf_map_update_elem(fd, &made_key, &made, BPF_EXIST), 0);
}

static void what_is_there_is_told(void **state)
{
	_cleanup_(close_fdp) int fd = map_make();
	_cleanup_(json_decrefp) json_t *list = json_array();
	uint64_t now_us = now_realtime_us(), since = 0;
	const json_t *r;

	put(fd, 443, now_monotonic_us() * 1000);
	assert_int_equal(passed_to_json(fd, list, &since), 0);
	assert_in_range(since, now_us - 60000000, now_us + 60000000);
	assert_int_equal(json_array_size(list), 1);
	r = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(r, "dst")), "10.9.0.1:443");
	assert_string_equal(json_string_value(json_object_get(r, "src")), "10.0.0.1:0");
	assert_string_equal(json_string_value(json_object_get(r, "srcName")), "a");
	assert_string_equal(json_string_value(json_object_get(r, "verdict")), "passed");
	assert_string_equal(json_string_value(json_object_get(r, "path")), "passthrough");
	assert_int_equal(json_integer_value(json_object_get(r, "count")), 3);
	assert_in_range(json_integer_value(json_object_get(r, "endedUs")), now_us - 60000000,
			now_us + 60000000);
}

static void marks_stay_when_another_agent_starts(void **state)
{
	_cleanup_(close_fdp) int fd = map_make();
	struct cv_passed before = mark(fd, CV_PASSED_MADE);

	put(fd, 1, 5);
	assert_int_equal(passed_start(fd), 0);
	assert_int_equal(mark(fd, CV_PASSED_MADE).first_ns, before.first_ns);
	assert_int_equal(mark(fd, CV_PASSED_MADE).count, 1);
}

static size_t size(int fd)
{
	_cleanup_(json_decrefp) json_t *list = json_array();
	uint64_t since;

	assert_int_equal(passed_to_json(fd, list, &since), 0);
	return json_array_size(list);
}

static void room_is_made_in_time_and_the_latest_stay(void **state)
{
	_cleanup_(close_fdp) int fd = map_make();
	struct cv_passed_key key = {.netns_cookie = 7, .reason = CV_PASSTHROUGH};
	const unsigned int at = CV_PASSED_MAX / 4 * 3, stay = CV_PASSED_MAX / 2;
	struct cv_passed p;

	for (unsigned int i = 1; i < at; i++)
		put(fd, i, 1000 + i);
	passed_sweep(fd);
	assert_int_equal(size(fd), at - 1);
	put(fd, at, 1000 + at);
	passed_sweep(fd);
	assert_int_equal(size(fd), stay);
	assert_int_equal(mark(fd, CV_PASSED_TAKEN).count, at - stay);
	assert_int_equal(mark(fd, CV_PASSED_TAKEN).last_ns, 1000 + at - stay);
	assert_int_equal(cv_addr_parse("10.9.0.1", &key.addr), 0);
	key.port = htons((uint16_t)(at - stay));
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &p), -ENOENT);
	key.port = htons((uint16_t)(at - stay + 1));
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &p), 0);
	passed_sweep(fd);
	assert_int_equal(size(fd), stay);
}

/* Marks of a run that was cut short, or that the programs wrote at the same time. */
static void wrong_marks_are_put_right(void **state)
{
	_cleanup_(close_fdp) int fd = map_make();
	struct cv_passed_key key = {.reason = CV_PASSED_MADE};
	struct cv_passed wrong = {.first_ns = 1, .count = 1000000};

	put(fd, 1, 10);
	assert_int_equal(bpf_map_update_elem(fd, &key, &wrong, BPF_EXIST), 0);
	passed_sweep(fd);
	assert_int_equal(size(fd), 1);
	assert_int_equal(mark(fd, CV_PASSED_TAKEN).count, 999999);
	assert_int_equal(mark(fd, CV_PASSED_TAKEN).last_ns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_there_is_told),
		cmocka_unit_test(marks_stay_when_another_agent_starts),
		cmocka_unit_test(room_is_made_in_time_and_the_latest_stay),
		cmocka_unit_test(wrong_marks_are_put_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

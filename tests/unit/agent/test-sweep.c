/* SPDX-License-Identifier: Apache-2.0 */
/* sweep - what is old, and what is not. */
#include "userspace/agent/sweep.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

static void entries_are_old_after_180_seconds(void **state)
{
	const uint64_t second = 1000000000;

	assert_false(sweep_is_old(1000 * second, 1000 * second));
	assert_false(sweep_is_old(1000 * second, 1180 * second));
	assert_true(sweep_is_old(1000 * second, 1180 * second + 1));
	/* written after "now" was read */
	assert_false(sweep_is_old(1001 * second, 1000 * second));
	assert_true(sweep_is_old(0, UINT64_MAX));
}

static void vouches_are_counted_in_seconds(void **state)
{
	const uint64_t second = 1000000000;
	struct cv_vouch v = {.time_s = 1000};

	assert_false(sweep_is_vouch_old(&v, 1180 * second));
	assert_true(sweep_is_vouch_old(&v, 1181 * second));
	assert_false(sweep_is_vouch_old(&v, 999 * second));
	/* the lower half of what was a time in nanoseconds */
	assert_true(sweep_is_vouch_old(&v, 10 * second));
	v.time_s = UINT32_MAX;
	assert_true(sweep_is_vouch_old(&v, 1000 * second));
}

static void a_vouch_of_a_node_that_is_up_for_years_is_no_older(void **state)
{
	const uint64_t second = 1000000000, years = CV_VOUCH_TIME + 1ull;
	struct cv_vouch v = {.time_s = 10 | CV_VOUCH_LED};

	assert_false(sweep_is_vouch_old(&v, (years + 10) * second));
	assert_false(sweep_is_vouch_old(&v, (3 * years + 190) * second));
	assert_true(sweep_is_vouch_old(&v, (years + 191) * second));
	/* begun before the seconds did anew */
	v.time_s = CV_VOUCH_TIME - 9;
	assert_false(sweep_is_vouch_old(&v, (years + 170) * second));
	assert_true(sweep_is_vouch_old(&v, (years + 171) * second));
}

static void a_vouch_is_held_once_the_pod_has_accepted_what_was_led_there(void **state)
{
	struct cv_vouch v = {.time_s = 1000 | CV_VOUCH_LED};

	assert_false(sweep_is_vouch_led(&v));
	v.time_s |= CV_VOUCH_ACCEPTED;
	assert_true(sweep_is_vouch_led(&v));
	assert_false(sweep_is_vouch_old(&v, 1180ull * 1000000000));
	v.time_s &= ~(uint32_t)CV_VOUCH_LED;
	assert_false(sweep_is_vouch_led(&v));
}

/* Every second one. */
static bool is_odd(const struct sweep *s, int fd, const struct cv_tuple *key, uint64_t now_ns)
{
	return key->local_port % 2 == 1;
}

static size_t count(int fd)
{
	struct cv_tuple key;
	size_t n = 0;

	for (int r = bpf_map_get_next_key(fd, NULL, &key); r == 0; n++)
		r = bpf_map_get_next_key(fd, &key, &key);
	return n;
}

/* Skips the test where there is no BPF. */
static int map_make(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "cv_test", sizeof(struct cv_tuple), 1, 65536,
				&opts);

	if (fd == -EPERM || fd == -ENOSYS)
		skip();
	assert_true(fd >= 0);
	return fd;
}

static void map_fill(int fd, uint16_t entries)
{
	const uint8_t value = 0;

	for (uint16_t i = 0; i < entries; i++) {
		const struct cv_tuple key = {.local_port = i};

		assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
	}
}

static void what_is_removed_does_not_send_the_walk_back(void **state)
{
	const uint16_t entries = 4 * SWEEP_BATCH;
	struct sweep_cursor c = {0};
	_cleanup_(close_fdp) int fd = map_make();

	map_fill(fd, entries);
	for (int i = 0; i < entries / SWEEP_BATCH; i++)
		sweep_walk(NULL, fd, &c, is_odd);
	assert_int_equal(count(fd), entries / 2);
	/* and from the beginning again */
	sweep_walk(NULL, fd, &c, is_odd);
	assert_int_equal(count(fd), entries / 2);
}

static void a_map_that_was_empty_is_left_alone_for_a_while(void **state)
{
	struct sweep_cursor c = {0};
	_cleanup_(close_fdp) int fd = map_make();

	assert_true(SWEEP_EMPTY_NS < SWEEP_AFTER_NS);
	sweep_walk(NULL, fd, &c, is_odd);
	map_fill(fd, 4);
	sweep_walk(NULL, fd, &c, is_odd);
	assert_int_equal(count(fd), 4);
	assert_true(c.again_ns > SWEEP_EMPTY_NS);
	c.again_ns -= SWEEP_EMPTY_NS; /* the while is over */
	sweep_walk(NULL, fd, &c, is_odd);
	assert_int_equal(count(fd), 2);
	/* and with something in it every time */
	map_fill(fd, 4);
	sweep_walk(NULL, fd, &c, is_odd);
	assert_int_equal(count(fd), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_are_old_after_180_seconds),
		cmocka_unit_test(vouches_are_counted_in_seconds),
		cmocka_unit_test(a_vouch_of_a_node_that_is_up_for_years_is_no_older),
		cmocka_unit_test(a_vouch_is_held_once_the_pod_has_accepted_what_was_led_there),
		cmocka_unit_test(what_is_removed_does_not_send_the_walk_back),
		cmocka_unit_test(a_map_that_was_empty_is_left_alone_for_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

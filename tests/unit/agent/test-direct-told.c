/* SPDX-License-Identifier: Apache-2.0 */
/* direct_told - real maps: bytes are told once, whoever tells them, and nothing is left behind. */
#include "userspace/agent/direct_told.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "userspace/agent/sweep.h"

/* As in bpf/maps.h. */
static int map_make(size_t value_size, uint32_t max)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "cv_test", sizeof(struct cv_tuple),
				(uint32_t)value_size, max, &opts);

	if (fd == -EPERM || fd == -ENOSYS)
		skip();
	assert_true(fd >= 0);
	return fd;
}

static struct direct_told_key key_of(uint16_t port, uint64_t time_ns)
{
	return (struct direct_told_key){.key = {.local_port = port, .remote_port = 80},
					.time_ns = time_ns};
}

/* What is new of a connection that has sent so much, and received twice as much. */
static uint64_t raise(int fd, const struct direct_told_key *k, uint64_t sent)
{
	const struct direct_amount now = {.sent = sent, .received = 2 * sent};
	struct direct_amount new = direct_told_raise(fd, k, &now);

	assert_int_equal(new.received, 2 * new.sent);
	return new.sent;
}

static uint64_t end(int fd, const struct direct_told_key *k, uint64_t sent)
{
	const struct direct_amount all = {.sent = sent, .received = 2 * sent};
	struct direct_amount new = direct_told_end(fd, k, &all);

	assert_int_equal(new.received, 2 * new.sent);
	return new.sent;
}

static bool is_empty(int fd)
{
	struct cv_tuple key;

	return bpf_map_get_next_key(fd, NULL, &key) == -ENOENT;
}

static void bytes_are_told_once_as_they_move(void **state)
{
	_cleanup_(close_fdp) int fd = map_make(sizeof(struct cv_direct_told), 65536);
	const struct direct_told_key k = key_of(5000, 7);

	assert_int_equal(raise(fd, &k, 0), 0);
	assert_true(is_empty(fd)); /* one that is idle costs nothing */
	assert_int_equal(raise(fd, &k, 100), 100);
	assert_int_equal(raise(fd, &k, 100), 0);
	assert_int_equal(raise(fd, &k, 150), 50);
	assert_int_equal(direct_told_get(fd, &k).sent, 150);
	assert_int_equal(direct_told_get(fd, &k).received, 300);
	assert_int_equal(raise(fd, &k, 140), 0); /* counters only grow */
	assert_int_equal(direct_told_get(fd, &k).sent, 150);
	assert_int_equal(end(fd, &k, 170), 20);
	assert_true(is_empty(fd));
	/* of a short one only the end tells */
	assert_int_equal(end(fd, &k, 30), 30);
}

static void the_same_addresses_later_are_another_connection(void **state)
{
	_cleanup_(close_fdp) int fd = map_make(sizeof(struct cv_direct_told), 65536);
	const struct direct_told_key before = key_of(5000, 7), after = key_of(5000, 8);

	assert_int_equal(raise(fd, &before, 100), 100);
	assert_int_equal(direct_told_get(fd, &after).sent, 0);
	assert_int_equal(raise(fd, &after, 60), 60);
	assert_int_equal(end(fd, &after, 80), 20);
}

static void what_finds_no_room_is_told_at_its_end(void **state)
{
	_cleanup_(close_fdp) int fd = map_make(sizeof(struct cv_direct_told), 1);
	const struct direct_told_key a = key_of(5000, 7), b = key_of(5001, 7);

	assert_int_equal(raise(fd, &a, 100), 100);
	assert_int_equal(raise(fd, &b, 100), 0);
	assert_int_equal(end(fd, &b, 100), 100);
	assert_int_equal(end(fd, &a, 100), 0);
}

static void what_ended_unheard_goes_after_a_while(void **state)
{
	_cleanup_(close_fdp) int fd = map_make(sizeof(struct cv_direct_told), 65536);
	_cleanup_(close_fdp) int directs = map_make(sizeof(struct cv_direct), 65536);
	const struct direct_told_key k = key_of(5000, 7);
	struct cv_direct c = {.time_ns = 7};
	uint64_t now = 1000;

	assert_int_equal(bpf_map_update_elem(directs, &k.key, &c, BPF_ANY), 0);
	assert_int_equal(raise(fd, &k, 100), 100);
	assert_false(direct_told_is_stale(fd, directs, &k.key, now));
	assert_false(direct_told_is_stale(fd, directs, &k.key, now += 2 * SWEEP_AFTER_NS));
	c.time_ns = 8; /* another connection's */
	assert_int_equal(bpf_map_update_elem(directs, &k.key, &c, BPF_ANY), 0);
	assert_false(direct_told_is_stale(fd, directs, &k.key, now));
	/* its end was on its way */
	assert_int_equal(direct_told_get(fd, &k).sent, 100);
	assert_int_equal(bpf_map_delete_elem(directs, &k.key), 0);
	assert_false(direct_told_is_stale(fd, directs, &k.key, now + SWEEP_AFTER_NS));
	assert_true(direct_told_is_stale(fd, directs, &k.key, now + SWEEP_AFTER_NS + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_are_told_once_as_they_move),
		cmocka_unit_test(the_same_addresses_later_are_another_connection),
		cmocka_unit_test(what_finds_no_room_is_told_at_its_end),
		cmocka_unit_test(what_ended_unheard_goes_after_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

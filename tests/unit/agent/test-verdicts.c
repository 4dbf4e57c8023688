/* SPDX-License-Identifier: Apache-2.0 */
/* verdicts - a real map that is full: old ones go first, then those of who has most. */
#include "userspace/agent/verdicts.h"

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

#define ROOM 60
#define NOW  (1000 * VERDICTS_ROOM_US)

/* As in bpf/maps.h. */
static int map_make(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "cv_verdicts", sizeof(struct cv_verdict_key),
				sizeof(struct cv_verdict), ROOM, &opts);

	if (fd == -EPERM || fd == -ENOSYS)
		skip();
	assert_true(fd >= 0);
	return fd;
}

static struct cv_verdict_key key_of(uint64_t src, uint16_t port)
{
	return (struct cv_verdict_key){.src_cookie = src, .dst_cookie = 99, .port = htons(port)};
}

static int keep_at(struct verdicts *v, uint64_t src, uint16_t port, uint64_t now_us)
{
	struct cv_verdict_key key = key_of(src, port);

	return verdicts_keep(v, &key, ZDS_VERDICT_ALLOW, now_us);
}

static void fill(struct verdicts *v, uint64_t src, uint16_t count)
{
	for (uint16_t port = 1; port <= count; port++)
		assert_int_equal(keep_at(v, src, port, NOW), 0);
}

/* How many of the source's are there, of the ports from 1 on? */
static int count(const struct verdicts *v, uint64_t src)
{
	int n = 0;

	for (uint16_t port = 1; port <= ROOM; port++) {
		struct cv_verdict_key key = key_of(src, port);

		n += verdicts_find(v, &key) == ZDS_VERDICT_ALLOW;
	}
	return n;
}

static void what_is_kept_is_found_in_its_generation(void **state)
{
	_cleanup_(close_fdp) int fd = map_make();
	struct verdicts v = {.fd = fd, .generation = 7};
	struct cv_verdict_key allowed = key_of(1, 80), denied = key_of(1, 81);
	struct cv_verdict_key ztunnels = key_of(1, 82);

	assert_int_equal(verdicts_keep(&v, &allowed, ZDS_VERDICT_ALLOW, NOW), 0);
	assert_int_equal(verdicts_keep(&v, &denied, ZDS_VERDICT_DENY, NOW), 0);
	assert_int_equal(verdicts_keep(&v, &ztunnels, ZDS_VERDICT_ZTUNNELS, NOW), 0);
	assert_int_equal(verdicts_find(&v, &allowed), ZDS_VERDICT_ALLOW);
	assert_int_equal(verdicts_find(&v, &ztunnels), ZDS_VERDICT_ZTUNNELS);
	assert_int_equal(verdicts_find(&v, &denied), ZDS_VERDICT_DENY);
	v.generation++;
	assert_int_equal(verdicts_find(&v, &allowed), ZDS_VERDICT_NONE);
}

static void old_ones_make_room_and_cost_nobody_anything(void **state)
{
	_cleanup_(close_fdp) int fd = map_make();
	struct verdicts v = {.fd = fd, .generation = 7};

	fill(&v, 1, ROOM / 2);
	v.generation++;
	fill(&v, 2, ROOM - ROOM / 2);
	assert_int_equal(keep_at(&v, 3, 1, NOW), 0);
	assert_int_equal(count(&v, 2), ROOM - ROOM / 2);
	assert_int_equal(count(&v, 3), 1);
	v.generation--;
	assert_int_equal(count(&v, 1), 0);
}

/* One pod that dials every port of another's. */
static void who_has_most_makes_room_for_the_others(void **state)
{
	_cleanup_(close_fdp) int fd = map_make();
	struct verdicts v = {.fd = fd, .generation = 7};

	fill(&v, 2, 5);
	fill(&v, 3, 3);
	fill(&v, 1, ROOM - 8);
	assert_int_equal(keep_at(&v, 4, 1, NOW), 1);
	assert_int_equal(count(&v, 1), 0);
	assert_int_equal(count(&v, 2), 5);
	assert_int_equal(count(&v, 3), 3);
	assert_int_equal(count(&v, 4), 1);
}

static void where_all_have_as_much_one_look_makes_room_for_many(void **state)
{
	_cleanup_(close_fdp) int fd = map_make();
	struct verdicts v = {.fd = fd, .generation = 7};

	for (uint64_t src = 1; src <= ROOM / 2; src++)
		fill(&v, src, 2);
	assert_int_equal(keep_at(&v, 99, 1, NOW), 1);
	for (uint16_t port = 2; port <= ROOM; port++)
		assert_int_equal(keep_at(&v, 99, port, NOW), 0);
}

/* Who fills it again at once finds none: a look at 65,536 entries for each of them is the agent's
 * time, and so everybody's. */
static void room_is_made_once_a_second(void **state)
{
	_cleanup_(close_fdp) int fd = map_make();
	struct verdicts v = {.fd = fd, .generation = 7};

	fill(&v, 1, ROOM);
	assert_int_equal(keep_at(&v, 2, 1, NOW), 1);
	fill(&v, 1, ROOM - 1);
	assert_int_equal(keep_at(&v, 2, 2, NOW + VERDICTS_ROOM_US - 1), -E2BIG);
	assert_int_equal(keep_at(&v, 2, 1, NOW + VERDICTS_ROOM_US - 1), 0); /* is there */
	assert_int_equal(count(&v, 1), ROOM - 1);
	assert_int_equal(keep_at(&v, 2, 2, NOW + VERDICTS_ROOM_US), 1);
	assert_int_equal(count(&v, 1), 0);
	assert_int_equal(count(&v, 2), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_is_found_in_its_generation),
		cmocka_unit_test(old_ones_make_room_and_cost_nobody_anything),
		cmocka_unit_test(who_has_most_makes_room_for_the_others),
		cmocka_unit_test(where_all_have_as_much_one_look_makes_room_for_many),
		cmocka_unit_test(room_is_made_once_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

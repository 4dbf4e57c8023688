/* SPDX-License-Identifier: Apache-2.0 */
/* directs - a real map: each entry is told once, whatever comes and goes meanwhile. */
#include "userspace/agent/directs.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"

#define ENTRIES (4 * DIRECTS_PAGE)

struct seen {
	int fd, count, limit;
	uint16_t times[ENTRIES];
	bool is_deleting;
};

static struct cv_tuple key_of(uint16_t port)
{
	struct cv_tuple t = {.local_port = port, .remote_port = 80};

	t.local.w[3] = 1;
	t.remote.w[3] = 2;
	return t;
}

/* As in bpf/maps.h. */
static int map_make(int entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "cv_directs", sizeof(struct cv_tuple),
				sizeof(struct cv_direct), 65536, &opts);

	if (fd == -EPERM || fd == -ENOSYS)
		skip();
	assert_true(fd >= 0);
	for (int i = 0; i < entries; i++) {
		struct cv_tuple key = key_of((uint16_t)i);
		struct cv_direct value = {.src_cookie = (uint64_t)i};

		assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_NOEXIST), 0);
	}
	return fd;
}

static bool on_entry(void *arg, const struct cv_tuple *key, const struct cv_direct *c)
{
	struct seen *s = arg;

	assert_int_equal(c->src_cookie, key->local_port);
	s->times[key->local_port]++;
	s->count++;
	if (s->is_deleting)
		assert_int_equal(bpf_map_delete_elem(s->fd, key), 0);
	return s->count != s->limit;
}

static void check_each_once(const struct seen *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->times); i++)
		assert_int_equal(s->times[i], 1);
}

static void each_entry_is_told_once(void **state)
{
	_cleanup_(close_fdp) int fd = map_make(ENTRIES);
	struct seen s = {.fd = fd};

	assert_int_equal(directs_each(fd, on_entry, &s), 0);
	check_each_once(&s);
}

static void what_goes_meanwhile_is_no_matter(void **state)
{
	_cleanup_(close_fdp) int fd = map_make(ENTRIES);
	struct seen s = {.fd = fd, .is_deleting = true};

	assert_int_equal(directs_each(fd, on_entry, &s), 0);
	check_each_once(&s);
	assert_int_equal(directs_each(fd, on_entry, &s), 0);
	check_each_once(&s);
}

static void pages_go_on_where_the_last_one_ended(void **state)
{
	_cleanup_(close_fdp) int fd = map_make(ENTRIES);
	struct seen s = {.fd = fd, .is_deleting = true};
	uint32_t at = 0;
	int pages = 0;

	do {
		int before = s.count;

		assert_int_equal(directs_page(fd, at, on_entry, &s, &at), 0);
		assert_true(s.count - before < ENTRIES / 2);
		pages++;
	} while (at != 0);
	assert_true(pages > 2);
	check_each_once(&s);
}

static void who_has_seen_enough_is_told_no_more(void **state)
{
	_cleanup_(close_fdp) int fd = map_make(ENTRIES);
	struct seen s = {.fd = fd, .limit = 3};

	assert_int_equal(directs_each(fd, on_entry, &s), 0);
	assert_int_equal(s.count, 3);
}

static void nothing_is_nothing(void **state)
{
	_cleanup_(close_fdp) int fd = map_make(0);
	struct seen s = {.fd = fd};
	uint32_t at = 0;

	assert_int_equal(directs_each(fd, on_entry, &s), 0);
	assert_int_equal(s.count, 0);
	/* a place that no map has: who asked is another process */
	assert_int_equal(directs_page(fd, UINT32_MAX, on_entry, &s, &at), 0);
	assert_int_equal(s.count, 0);
	assert_int_equal(at, 0);
	assert_true(directs_each(-1, on_entry, &s) < 0);
}

static void the_client_sees_its_own_end_first(void **state)
{
	struct cv_tuple key = key_of(5000), t;
	struct cv_direct c = {.src_cookie = 7, .flags = CV_DIRECT_ESTABLISHED};

	t = directs_tuple(&key, &c);
	assert_int_equal(t.local_port, 5000);
	assert_int_equal(t.netns_cookie, 7);
	assert_true(directs_is_open(&c));
	c.flags |= CV_DIRECT_TURNED | CV_DIRECT_CLIENT_CLOSED;
	t = directs_tuple(&key, &c);
	assert_int_equal(t.remote_port, 5000);
	assert_int_equal(t.netns_cookie, 7);
	assert_false(directs_is_open(&c));
	c.flags = 0;
	assert_false(directs_is_open(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_entry_is_told_once),
		cmocka_unit_test(what_goes_meanwhile_is_no_matter),
		cmocka_unit_test(pages_go_on_where_the_last_one_ended),
		cmocka_unit_test(who_has_seen_enough_is_told_no_more),
		cmocka_unit_test(nothing_is_nothing),
		cmocka_unit_test(the_client_sees_its_own_end_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

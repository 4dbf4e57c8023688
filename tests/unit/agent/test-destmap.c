/* SPDX-License-Identifier: Apache-2.0 */
#include "userspace/agent/destmap.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

/* A map with room for `room` of the keys 0..7. */
struct fake {
	size_t room, count;
	bool has[8];
};

static int fake_write(void *arg, const void *key, const struct cv_dest *dest)
{
	struct fake *f = arg;
	uint32_t k = *(const uint32_t *)key;

	(void)dest;
	if (!f->has[k] && f->count >= f->room)
		return -E2BIG;
	f->count += !f->has[k];
	f->has[k] = true;
	return 0;
}

static void fake_erase(void *arg, const void *key)
{
	struct fake *f = arg;
	uint32_t k = *(const uint32_t *)key;

	f->count -= f->has[k];
	f->has[k] = false;
}

static const struct destmap_ops ops = {sizeof(uint32_t), fake_write, fake_erase};
static const struct cv_dest dest = {.flags = CV_DEST_MESH};

static int put(struct destmap *m, uint32_t key)
{
	return destmap_put(m, &key, &dest);
}

static void del(struct destmap *m, uint32_t key)
{
	destmap_del(m, &key);
}

static void test_full_is_incomplete_until_there_is_room(void **state)
{
	_cleanup_(destmap_freep) struct destmap *m = NULL;
	struct fake f = {.room = 2};

	(void)state;
	assert_int_equal(destmap_new(&ops, &f, &m), 0);
	assert_true(destmap_is_complete(m));
	assert_int_equal(put(m, 0), 0);
	assert_int_equal(put(m, 1), 0);
	assert_true(destmap_is_complete(m));
	assert_int_equal(put(m, 2), -E2BIG);
	assert_int_equal(put(m, 3), -E2BIG);
	assert_int_equal(put(m, 3), -E2BIG);
	assert_false(destmap_is_complete(m));
	del(m, 0);
	assert_false(destmap_is_complete(m));
	assert_int_equal(f.count, 2);
	del(m, 1);
	assert_true(destmap_is_complete(m));
	assert_true(f.has[2] && f.has[3]);
}

static void test_what_is_gone_is_not_missed(void **state)
{
	_cleanup_(destmap_freep) struct destmap *m = NULL;
	struct fake f = {.room = 1};

	(void)state;
	assert_int_equal(destmap_new(&ops, &f, &m), 0);
	assert_int_equal(put(m, 0), 0);
	assert_int_equal(put(m, 1), -E2BIG);
	del(m, 1);
	assert_true(destmap_is_complete(m));
	assert_true(f.has[0]);
}

static void test_retry_after_others_made_room(void **state)
{
	_cleanup_(destmap_freep) struct destmap *m = NULL;
	struct fake f = {.room = 0};

	(void)state;
	assert_int_equal(destmap_new(&ops, &f, &m), 0);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(put(m, i), -E2BIG);
	f.room = 3;
	destmap_retry(m);
	assert_int_equal(f.count, 3);
	assert_false(destmap_is_complete(m));
	f.room = 4;
	destmap_retry(m);
	assert_true(destmap_is_complete(m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_is_incomplete_until_there_is_room),
		cmocka_unit_test(test_what_is_gone_is_not_missed),
		cmocka_unit_test(test_retry_after_others_made_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

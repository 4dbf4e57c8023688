/* SPDX-License-Identifier: Apache-2.0 */
/* hamt - clones never see later changes, and nothing leaks. */
#include "base/hamt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/ztunnel/mesh.h"

#define MANY 5000

static long live;

static void *value_ref(void *v)
{
	live++;
	return v;
}

static void value_unref(void *v _unused_)
{
	live--;
}

static const struct hamt_ops ops = {.ref = value_ref, .unref = value_unref};
static int values[MANY];

static struct hamt *filled(int from, int to)
{
	struct hamt *h = NULL;

	assert_int_equal(hamt_new(&ops, &h), 0);
	for (int i = from; i < to; i++)
		assert_int_equal(hamt_put(h, &i, sizeof(i), &values[i]), 0);
	return h;
}

TEST(holds_what_was_put)
{
	struct hamt *h = filled(0, MANY);

	assert_int_equal(hamt_count(h), MANY);
	for (int i = 0; i < MANY; i++)
		assert_ptr_equal(hamt_get(h, &i, sizeof(i)), &values[i]);
	assert_null(hamt_get_str(h, "absent"));
	assert_int_equal(live, MANY);
	hamt_free(h);
	assert_int_equal(live, 0);
}

TEST(replaces_and_counts_once)
{
	struct hamt *h = filled(0, 1);
	int key = 0;

	assert_int_equal(hamt_put(h, &key, sizeof(key), &values[7]), 0);
	assert_int_equal(hamt_count(h), 1);
	assert_ptr_equal(hamt_get(h, &key, sizeof(key)), &values[7]);
	assert_int_equal(live, 1);
	hamt_free(h);
}

TEST(a_clone_keeps_the_past)
{
	struct hamt *h = filled(0, MANY);
	struct hamt *old = NULL;

	assert_int_equal(hamt_clone(h, &old), 0);
	for (int i = 0; i < MANY; i += 2)
		assert_int_equal(hamt_del(h, &i, sizeof(i)), 0);
	for (int i = 1; i < MANY; i += 2)
		assert_int_equal(hamt_put(h, &i, sizeof(i), &values[0]), 0);
	for (int i = 0; i < MANY; i++) {
		assert_ptr_equal(hamt_get(old, &i, sizeof(i)), &values[i]);
		assert_ptr_equal(hamt_get(h, &i, sizeof(i)), i % 2 ? &values[0] : NULL);
	}
	assert_int_equal(hamt_count(old), MANY);
	assert_int_equal(hamt_count(h), MANY / 2);
	hamt_free(h);
	for (int i = 0; i < MANY; i++)
		assert_ptr_equal(hamt_get(old, &i, sizeof(i)), &values[i]);
	hamt_free(old);
	assert_int_equal(live, 0);
}

TEST(deleting_all_leaves_an_empty_one)
{
	struct hamt *h = filled(0, MANY);
	int absent = MANY + 1;

	assert_int_equal(hamt_del(h, &absent, sizeof(absent)), -ENOENT);
	for (int i = MANY - 1; i >= 0; i--)
		assert_int_equal(hamt_del(h, &i, sizeof(i)), 0);
	assert_int_equal(hamt_count(h), 0);
	assert_int_equal(live, 0);
	assert_int_equal(hamt_put_str(h, "x", &values[1]), 0);
	assert_ptr_equal(hamt_get_str(h, "x"), &values[1]);
	assert_int_equal(hamt_del_str(h, "x"), 0);
	hamt_free(h);
}

static int count_up_to(void *arg, const void *key _unused_, size_t key_len _unused_,
		       void *value _unused_)
{
	int *left = arg;

	return --*left == 0 ? 7 : 0;
}

TEST(visits_each_entry_and_stops_when_told)
{
	struct hamt *h = filled(0, 100);
	int left = 1000;

	assert_int_equal(hamt_visit(h, count_up_to, &left), 0);
	assert_int_equal(left, 900);
	left = 10;
	assert_int_equal(hamt_visit(h, count_up_to, &left), 7);
	hamt_free(h);
}

TEST(random_changes_agree_with_a_plain_array_over_many_clones)
{
	struct hamt *h = filled(0, 0);
	struct hamt *clones[20];
	void *plain[20][64];
	void *now[64] = {NULL};

	srand(7);
	for (int c = 0; c < 20; c++) {
		for (int n = 0; n < 200; n++) {
			int key = rand() % 64;

			if (rand() % 3) {
				now[key] = &values[rand() % MANY];
				assert_int_equal(hamt_put(h, &key, sizeof(key), now[key]), 0);
			} else {
				assert_int_equal(hamt_del(h, &key, sizeof(key)),
						 now[key] ? 0 : -ENOENT);
				now[key] = NULL;
			}
		}
		assert_int_equal(hamt_clone(h, &clones[c]), 0);
		memcpy(plain[c], now, sizeof(now));
	}
	hamt_free(h);
	for (int c = 0; c < 20; c++) {
		for (int key = 0; key < 64; key++)
			assert_ptr_equal(hamt_get(clones[c], &key, sizeof(key)), plain[c][key]);
		hamt_free(clones[c]);
	}
	assert_int_equal(live, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_what_was_put),
		cmocka_unit_test(replaces_and_counts_once),
		cmocka_unit_test(a_clone_keeps_the_past),
		cmocka_unit_test(deleting_all_leaves_an_empty_one),
		cmocka_unit_test(visits_each_entry_and_stops_when_told),
		cmocka_unit_test(random_changes_agree_with_a_plain_array_over_many_clones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hamt - clones and versions never see later changes, and nothing leaks. */
#include "base/hamt.h"

#include <errno.h>
#include <pthread.h>
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

/* @old: what filled(0, MANY) was, before @h goes on. Frees both. */
static void past_is_kept(struct hamt *h, struct hamt *old)
{
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

TEST(a_clone_keeps_the_past)
{
	struct hamt *h = filled(0, MANY);
	struct hamt *old = NULL;

	assert_int_equal(hamt_clone(h, &old), 0);
	past_is_kept(h, old);
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

static struct hamt *versioned(int from, int to)
{
	struct hamt *h = NULL;

	assert_int_equal(hamt_new_versioned(&ops, &h), 0);
	for (int i = from; i < to; i++)
		assert_int_equal(hamt_put(h, &i, sizeof(i), &values[i]), 0);
	return h;
}

static struct hamt *published(struct hamt *h)
{
	struct hamt *v = NULL;

	assert_int_equal(hamt_publish(h, &v), 0);
	return v;
}

TEST(a_version_keeps_the_past)
{
	struct hamt *h = versioned(0, MANY);
	struct hamt *old = published(h);

	past_is_kept(h, old);
}

TEST(what_has_not_changed_is_the_same_version)
{
	struct hamt *h = versioned(0, 10);
	struct hamt *first = published(h), *again = published(h);
	int key = 3;

	assert_ptr_equal(first, again);
	hamt_free(first);
	assert_ptr_equal(hamt_get(again, &key, sizeof(key)), &values[3]);
	assert_int_equal(hamt_del(h, &key, sizeof(key)), 0);
	first = published(h);
	assert_ptr_not_equal(first, again);
	hamt_free(h);
	hamt_free(again);
	assert_null(hamt_get(first, &key, sizeof(key)));
	assert_int_equal(live, 9);
	hamt_free(first);
	assert_int_equal(live, 0);
}

TEST(what_was_replaced_goes_with_the_last_version_that_has_it)
{
	struct hamt *h = versioned(0, 100);
	struct hamt *v[4];
	int key = 7;

	/* 1 and 2 have the value, 3 has another, 4 none */
	v[0] = published(h);
	key = 8;
	assert_int_equal(hamt_del(h, &key, sizeof(key)), 0);
	v[1] = published(h);
	key = 7;
	assert_int_equal(hamt_put(h, &key, sizeof(key), &values[9]), 0);
	v[2] = published(h);
	assert_int_equal(hamt_del(h, &key, sizeof(key)), 0);
	v[3] = published(h);
	assert_int_equal(live, 101); /* 98 in all, one of 1 alone, one of 1 and 2, one of 3 */
	v[2] = hamt_free(v[2]);
	assert_int_equal(live, 100);
	v[1] = hamt_free(v[1]);
	assert_int_equal(live, 100);
	assert_ptr_equal(hamt_get(v[0], &key, sizeof(key)), &values[7]);
	v[0] = hamt_free(v[0]);
	assert_int_equal(live, 98);
	hamt_free(v[3]);
	assert_int_equal(live, 98);
	hamt_free(h);
	assert_int_equal(live, 0);
}

#define VERSIONS 40
#define KEYS     300

struct model {
	struct hamt *version;
	void *plain[KEYS];
};

static void model_check(const struct model *m)
{
	for (int key = 0; key < KEYS; key++)
		assert_ptr_equal(hamt_get(m->version, &key, sizeof(key)), m->plain[key]);
}

/* Changes and versions at random, which are given up in any order, also after the writer. */
TEST(random_changes_agree_with_a_plain_array_over_many_versions)
{
	static struct model m[VERSIONS];

	for (unsigned int seed = 0; seed < 30; seed++) {
		struct hamt *h = versioned(0, 0);
		void *now[KEYS] = {NULL};
		size_t held = 0;

		srand(seed);
		for (int n = 0; n < 6000; n++) {
			int key = rand() % KEYS, what = rand() % 100;

			if (what < 60) {
				now[key] = &values[rand() % MANY];
				assert_int_equal(hamt_put(h, &key, sizeof(key), now[key]), 0);
			} else if (what < 90) {
				assert_int_equal(hamt_del(h, &key, sizeof(key)),
						 now[key] ? 0 : -ENOENT);
				now[key] = NULL;
			} else if (what < 95 && held < VERSIONS) {
				m[held].version = published(h);
				memcpy(m[held++].plain, now, sizeof(now));
			} else if (held) {
				size_t at = (size_t)rand() % held;

				model_check(&m[at]);
				hamt_free(m[at].version);
				m[at] = m[--held];
			}
		}
		hamt_free(h);
		while (held) {
			size_t at = (size_t)rand() % held;

			model_check(&m[at]);
			hamt_free(m[at].version);
			m[at] = m[--held];
		}
		assert_int_equal(live, 0);
	}
}

static atomic_long counted_live;

static void *counted_ref(void *v)
{
	atomic_fetch_add(&counted_live, 1);
	return v;
}

static void counted_unref(void *v _unused_)
{
	atomic_fetch_sub(&counted_live, 1);
}

static const struct hamt_ops counted_ops = {.ref = counted_ref, .unref = counted_unref};

struct reader {
	struct hamt *versions[200];
	atomic_size_t given;
	size_t wrong;
};

/* Each version has the number of its own round at each key that it has. */
static void *reader_run(void *arg)
{
	struct reader *r = arg;

	for (size_t i = 0; i < ARRAY_SIZE(r->versions); i++) {
		while (atomic_load(&r->given) <= i)
			;
		for (int key = 0; key < KEYS; key++)
			r->wrong += hamt_get(r->versions[i], &key, sizeof(key)) != &values[i];
		hamt_free(r->versions[i]);
	}
	return NULL;
}

TEST(versions_are_read_and_freed_by_other_threads_while_the_writer_goes_on)
{
	static struct reader readers[3];
	pthread_t threads[ARRAY_SIZE(readers)];
	struct hamt *h = NULL;

	assert_int_equal(hamt_new_versioned(&counted_ops, &h), 0);
	for (size_t t = 0; t < ARRAY_SIZE(readers); t++)
		assert_int_equal(pthread_create(&threads[t], NULL, reader_run, &readers[t]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(readers[0].versions); i++) {
		for (int key = 0; key < KEYS; key++)
			assert_int_equal(hamt_put(h, &key, sizeof(key), &values[i]), 0);
		for (size_t t = 0; t < ARRAY_SIZE(readers); t++) {
			readers[t].versions[i] = published(h);
			atomic_store(&readers[t].given, i + 1);
		}
	}
	hamt_free(h);
	for (size_t t = 0; t < ARRAY_SIZE(readers); t++) {
		assert_int_equal(pthread_join(threads[t], NULL), 0);
		assert_int_equal(readers[t].wrong, 0);
	}
	assert_int_equal(counted_live, 0);
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
		cmocka_unit_test(a_version_keeps_the_past),
		cmocka_unit_test(what_has_not_changed_is_the_same_version),
		cmocka_unit_test(what_was_replaced_goes_with_the_last_version_that_has_it),
		cmocka_unit_test(random_changes_agree_with_a_plain_array_over_many_versions),
		cmocka_unit_test(
			versions_are_read_and_freed_by_other_threads_while_the_writer_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

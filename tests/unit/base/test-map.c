/* SPDX-License-Identifier: Apache-2.0 */
/* map - against a plain array as the model; deleting while iterating. */
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 500

static void agrees_with_a_plain_array(void **state)
{
	_cleanup_(map_freep) struct map *m = NULL;
	static char values[KEYS];
	bool is_in[KEYS] = {false};
	size_t n = 0;

	assert_int_equal(map_new(&m), 0);
	srand(7);
	for (int i = 0; i < 200000; i++) {
		int k = rand() % KEYS;

		if (rand() % 2) {
			assert_int_equal(map_put(m, &k, sizeof(k), &values[k]), 0);
			n += !is_in[k];
			is_in[k] = true;
		} else {
			assert_ptr_equal(map_del(m, &k, sizeof(k)), is_in[k] ? &values[k] : NULL);
			n -= is_in[k];
			is_in[k] = false;
		}
		assert_int_equal(map_count(m), n);
	}
	for (int k = 0; k < KEYS; k++)
		assert_ptr_equal(map_get(m, &k, sizeof(k)), is_in[k] ? &values[k] : NULL);
}

/* its slots are megabytes */
static void a_large_map_has_all_and_no_more(void **state)
{
	_cleanup_(map_freep) struct map *m = NULL;
	static char values[200000];
	const uint32_t n = sizeof(values);

	assert_int_equal(map_new(&m), 0);
	for (uint32_t k = 0; k < n; k++)
		assert_int_equal(map_put(m, &k, sizeof(k), &values[k]), 0);
	for (uint32_t k = 0; k < n; k += 2)
		assert_ptr_equal(map_del(m, &k, sizeof(k)), &values[k]);
	assert_int_equal(map_count(m), n / 2);
	for (uint32_t k = 0; k < 2 * n; k++)
		assert_ptr_equal(map_get(m, &k, sizeof(k)), k < n && k % 2 ? &values[k] : NULL);
}

static void keys_are_copied_and_replaced(void **state)
{
	_cleanup_(map_freep) struct map *m = NULL;
	char key[] = "alpha";
	int one, two;

	assert_int_equal(map_new(&m), 0);
	assert_int_equal(map_put_str(m, key, &one), 0);
	key[0] = 'x';
	assert_ptr_equal(map_get_str(m, "alpha"), &one);
	assert_null(map_get_str(m, key));
	assert_int_equal(map_put_str(m, "alpha", &two), 0);
	assert_int_equal(map_count(m), 1);
	assert_ptr_equal(map_get_str(m, "alpha"), &two);
	assert_null(map_get_str(m, "alph"));
	assert_null(map_get(m, "alpha", 6));
}

static void the_empty_key_is_a_key(void **state)
{
	_cleanup_(map_freep) struct map *m = NULL;
	int v;

	assert_int_equal(map_new(&m), 0);
	assert_null(map_get_str(m, ""));
	assert_null(map_del_str(m, ""));
	assert_int_equal(map_put_str(m, "", &v), 0);
	assert_ptr_equal(map_get(m, NULL, 0), &v);
	assert_ptr_equal(map_del_str(m, ""), &v);
}

static void deleting_while_iterating_visits_all_once(void **state)
{
	_cleanup_(map_freep) struct map *m = NULL;
	char seen[KEYS] = {0};
	size_t n = 0;

	assert_int_equal(map_new(&m), 0);
	for (size_t i = 0; i < KEYS; i++)
		assert_int_equal(map_put(m, &i, sizeof(i), &seen[i]), 0);
	map_for_each (m, it) {
		size_t key;

		memcpy(&key, it.key, sizeof(key));
		assert_int_equal(it.key_len, sizeof(key));
		assert_int_equal(seen[key], 0);
		seen[key] = 1;
		n++;
		if (key % 3)
			assert_ptr_equal(map_del(m, &key, sizeof(key)), &seen[key]);
	}
	assert_int_equal(n, KEYS);
	assert_int_equal(map_count(m), (KEYS + 2) / 3);
}

static void hash_depends_on_every_byte(void **state)
{
	char key[40] = {0};
	uint64_t zero = map_hash(key, sizeof(key));

	assert_int_equal(zero, map_hash(key, sizeof(key)));
	for (size_t i = 0; i < sizeof(key); i++) {
		key[i] = 1;
		assert_int_not_equal(zero, map_hash(key, sizeof(key)));
		key[i] = 0;
		assert_int_not_equal(zero, map_hash(key, i));
	}
}

static void a_place_is_found_or_made(void **state)
{
	_cleanup_(map_freep) struct map *m = NULL;
	const char *key = NULL, *again = NULL;
	void **at;
	int one;

	assert_int_equal(map_new(&m), 0);
	at = map_at_str(m, "alpha", &key);
	assert_non_null(at);
	assert_null(*at);
	*at = &one;
	assert_string_equal(key, "alpha");
	assert_ptr_equal(map_get_str(m, "alpha"), &one);
	assert_ptr_equal(map_get_hashed(m, map_hash("alpha", 5), "alpha", 5), &one);
	assert_null(map_get_hashed(m, map_hash("beta", 4), "beta", 4));
	for (int i = 0; i < KEYS; i++)
		assert_int_equal(map_put(m, &i, sizeof(i), &one), 0);
	assert_ptr_equal(*map_at_str(m, "alpha", &again), &one);
	assert_ptr_equal(again, key); /* it stays where it is */
	assert_int_equal(map_count(m), KEYS + 1);
}

static void a_cleared_map_is_empty_and_usable(void **state)
{
	_cleanup_(map_freep) struct map *m = NULL;
	int one;

	assert_int_equal(map_new(&m), 0);
	map_clear(m);
	assert_int_equal(map_put_str(m, "alpha", &one), 0);
	assert_int_equal(map_put_str(m, "beta", &one), 0);
	assert_ptr_equal(map_del_str(m, "beta"), &one);
	map_clear(m);
	assert_int_equal(map_count(m), 0);
	assert_null(map_get_hashed(m, map_hash("alpha", 5), "alpha", 5));
	assert_int_equal(map_put_str(m, "alpha", &one), 0);
	assert_ptr_equal(map_get_str(m, "alpha"), &one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_a_plain_array),
		cmocka_unit_test(a_large_map_has_all_and_no_more),
		cmocka_unit_test(keys_are_copied_and_replaced),
		cmocka_unit_test(the_empty_key_is_a_key),
		cmocka_unit_test(deleting_while_iterating_visits_all_once),
		cmocka_unit_test(hash_depends_on_every_byte),
		cmocka_unit_test(a_place_is_found_or_made),
		cmocka_unit_test(a_cleared_map_is_empty_and_usable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* resources - order of change, versions by content, removed entries remembered until told. */
#include "xds/resources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

static void set(struct resources *s, const char *name, const char *bytes)
{
	assert_int_equal(resources_set(s, name, bytes, strlen(bytes)), 0);
}

static void same_bytes_change_nothing(void **state)
{
	struct resources s;

	assert_int_equal(resources_init(&s), 0);
	set(&s, "a", "1");
	set(&s, "a", "1");
	assert_int_equal(s.seq, 1);
	set(&s, "a", "2");
	assert_int_equal(s.seq, 2);
	assert_int_equal(s.n_live, 1);
	resources_clear(&s);
}

static void versions_follow_the_bytes(void **state)
{
	char version[RESOURCE_VERSION_SIZE];
	struct resources s;

	assert_int_equal(resources_init(&s), 0);
	set(&s, "a", "1");
	memcpy(version, resources_get(&s, "a")->version, sizeof(version));
	set(&s, "a", "2");
	assert_string_not_equal(version, resources_get(&s, "a")->version);
	set(&s, "a", "1");
	assert_string_equal(version, resources_get(&s, "a")->version);
	assert_int_equal(strlen(version), 16);
	resources_clear(&s);
}

static void walks_in_order_of_change(void **state)
{
	struct resource_entry *e;
	struct resources s;

	assert_int_equal(resources_init(&s), 0);
	assert_null(resources_after(&s, 0));
	set(&s, "a", "1");
	set(&s, "b", "1");
	set(&s, "a", "2");
	e = resources_after(&s, 0);
	assert_string_equal(e->name, "b");
	e = resources_next(&s, e);
	assert_string_equal(e->name, "a");
	assert_null(resources_next(&s, e));
	assert_string_equal(resources_after(&s, 2)->name, "a");
	assert_null(resources_after(&s, 3));
	resources_clear(&s);
}

static void remembers_removals_until_told(void **state)
{
	struct resources s;

	assert_int_equal(resources_init(&s), 0);
	resources_remove(&s, "a");
	assert_int_equal(s.seq, 0);
	set(&s, "a", "1");
	set(&s, "b", "1");
	resources_remove(&s, "a");
	resources_remove(&s, "a");
	assert_int_equal(s.n_live, 1);
	assert_null(resources_after(&s, 2)->packed);
	resources_forget(&s, 2);
	assert_non_null(resources_get(&s, "a"));
	resources_forget(&s, 3);
	assert_null(resources_get(&s, "a"));
	assert_non_null(resources_get(&s, "b"));
	resources_clear(&s);
}

static void a_removed_one_may_come_back(void **state)
{
	struct resources s;

	assert_int_equal(resources_init(&s), 0);
	set(&s, "a", "1");
	resources_remove(&s, "a");
	set(&s, "a", "1");
	resources_forget(&s, s.seq);
	assert_non_null(resources_get(&s, "a")->packed);
	assert_int_equal(s.n_live, 1);
	resources_clear(&s);
}

/* Whoever goes through all of it in parts, others between them, and what it stands at goes. */
static void each_place_is_found_from_any_other(void **state)
{
	struct resources s;
	char name[8];

	assert_int_equal(resources_init(&s), 0);
	for (int i = 1; i <= 64; i++) {
		(void)snprintf(name, sizeof(name), "%d", i);
		set(&s, name, "1");
	}
	for (uint64_t from = 0; from < 64; from++)
		for (uint64_t seq = 0; seq < 64; seq++) {
			assert_int_equal(resources_after(&s, from)->seq, from + 1);
			assert_int_equal(resources_after(&s, seq)->seq, seq + 1);
		}
	assert_int_equal(resources_after(&s, 31)->seq, 32);
	set(&s, "32", "2");
	assert_int_equal(resources_after(&s, 31)->seq, 33);
	assert_string_equal(resources_after(&s, 64)->name, "32");
	resources_remove(&s, "40");
	assert_int_equal(resources_after(&s, 65)->seq, 66);
	resources_forget(&s, 66);
	assert_int_equal(resources_after(&s, 39)->seq, 41);
	assert_null(resources_after(&s, 66));
	resources_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bytes_change_nothing),
		cmocka_unit_test(versions_follow_the_bytes),
		cmocka_unit_test(walks_in_order_of_change),
		cmocka_unit_test(remembers_removals_until_told),
		cmocka_unit_test(a_removed_one_may_come_back),
		cmocka_unit_test(each_place_is_found_from_any_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* versions - many names come, change and go; what is no version of ours is held without one. */
#include "xds/versions.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* so few that the chance of two names that fall together is one in a thousand million */
#define MANY 100

static void set(struct versions *v, const char *name, const char *version)
{
	assert_int_equal(versions_set(v, name, version), 0);
}

static void name_make(int i, char name[32], char version[VERSION_TEXT_SIZE])
{
	(void)snprintf(name, 32, "cluster//Pod/ns/%d", i);
	(void)snprintf(version, VERSION_TEXT_SIZE, "%08x%08x", i * 7919 + 1, i);
}

static void keeps_what_is_set_until_it_is_deleted(void **state)
{
	char name[32], version[VERSION_TEXT_SIZE], got[VERSION_TEXT_SIZE];
	struct versions v = {0};

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MANY; i++) {
			name_make(i, name, version);
			set(&v, name, "00000000000000ff");
			set(&v, name, version);
		}
		assert_int_equal(v.count, MANY);
		for (int i = 0; i < MANY; i += 2) {
			name_make(i, name, version);
			versions_del(&v, name);
			versions_del(&v, name);
		}
		assert_int_equal(v.count, MANY / 2);
		for (int i = 0; i < MANY; i++) {
			name_make(i, name, version);
			assert_int_equal(versions_get(&v, name, got), i % 2 ? 0 : -ENOENT);
			assert_string_equal(got, i % 2 ? version : "");
		}
	}
	versions_clear(&v);
	assert_int_equal(v.count, 0);
}

static void a_version_of_another_form_is_none(void **state)
{
	static const char *const others[] = {"",
					     "7",
					     "2026-11-21T20:00:00Z/12",
					     "00000000000000FF",
					     "0123456789abcdef0",
					     "0x23456789abcdef"};
	char got[VERSION_TEXT_SIZE];
	struct versions v = {0};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		set(&v, "a", "0123456789abcdef");
		assert_int_equal(versions_get(&v, "a", got), 0);
		assert_string_equal(got, "0123456789abcdef");
		set(&v, "a", others[i]);
		assert_int_equal(versions_get(&v, "a", got), 0);
		assert_string_equal(got, "");
	}
	versions_clear(&v);
}

static void an_empty_one_knows_nothing(void **state)
{
	char got[VERSION_TEXT_SIZE] = "x";
	struct versions v = {0};

	versions_del(&v, "a");
	assert_int_equal(versions_get(&v, "a", got), -ENOENT);
	assert_string_equal(got, "");
	versions_clear(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_what_is_set_until_it_is_deleted),
		cmocka_unit_test(a_version_of_another_form_is_none),
		cmocka_unit_test(an_empty_one_knows_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

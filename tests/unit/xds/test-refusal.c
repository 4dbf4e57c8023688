/* SPDX-License-Identifier: Apache-2.0 */
/* refusal - it stands as long as what it names is there as it was refused. */
#include "xds/refusal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct resources store;
	struct refusal *refusal;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(resources_init(&f->store), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	resources_clear(&f->store);
	free(f->refusal);
	free(f);
	return 0;
}

static void set(struct fixture *f, const char *name, const char *bytes)
{
	assert_int_equal(resources_set(&f->store, name, bytes, strlen(bytes)), 0);
}

static void refuse(struct fixture *f, const char *words)
{
	refusal_note(&f->refusal, f->store.seq, words);
	assert_non_null(f->refusal);
}

/* Does it stand after something else was taken? */
static int stands(struct fixture *f)
{
	refusal_review(&f->refusal, &f->store);
	return f->refusal != NULL;
}

static void it_stands_until_the_resource_changes(void **state)
{
	struct fixture *f = *state;

	set(f, "ns/bad", "1");
	refuse(f, "ns/bad: has no sense");
	set(f, "ns/other", "1");
	assert_true(stands(f));
	set(f, "ns/bad", "2");
	assert_false(stands(f));
}

/* A word of the client's that is cut inside a character: no JSON would take it, and a status would
 * lack the client. */
static void it_is_text(void **state)
{
	struct fixture *f = *state;

	set(f, "ns/bad", "1");
	refuse(f, "ns/bad: what is \xe2\x82");
	assert_string_equal(f->refusal->detail, "ns/bad: what is ??");
	assert_true(stands(f));
}

static void it_ends_with_the_resource(void **state)
{
	struct fixture *f = *state;

	set(f, "ns/bad", "1");
	refuse(f, "ns/bad: has no sense");
	resources_remove(&f->store, "ns/bad");
	assert_false(stands(f));
	refuse(f, "ns/bad: has no sense"); /* the response said that it is gone */
	assert_false(stands(f));
}

static void of_several_the_last_ends_it(void **state)
{
	struct fixture *f = *state;

	set(f, "ns/a", "1");
	set(f, "ns/b", "1");
	refuse(f, "ns/a: no: never; ns/b: neither");
	set(f, "ns/a", "2");
	assert_true(stands(f));
	set(f, "ns/b", "2");
	assert_false(stands(f));
}

static void a_name_may_have_colons(void **state)
{
	struct fixture *f = *state;

	set(f, "c/slice/ns/s/fd00::1", "1");
	refuse(f, "refused: c/slice/ns/s/fd00::1: no address");
	assert_true(stands(f));
}

static void a_name_within_another_is_not_meant(void **state)
{
	struct fixture *f = *state;

	set(f, "ns/b", "1");
	set(f, "s/bad", "1");
	refuse(f, "ns/bad: has no sense");
	assert_false(stands(f));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(it_stands_until_the_resource_changes),
		T(it_is_text),
		T(it_ends_with_the_resource),
		T(of_several_the_last_ends_it),
		T(a_name_may_have_colons),
		T(a_name_within_another_is_not_meant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* problems - replaced as a whole per file or object, kept while they hold, bounded. */
#include "userspace/control/problems.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"

static const struct source_error in_file = {
	.file = "a.yaml",
	.line = 3,
	.kind = "Pod",
	.namespace_ = "demo",
	.name = "web",
	.field = "spec.x",
	.message = "unknown field",
};

static size_t count(const struct problems *p)
{
	json_t *json = problems_to_json(p);
	size_t n = json_array_size(json);

	json_decref(json);
	return n;
}

static struct problems *start(void)
{
	struct problems *p = NULL;

	/* what is logged is not what is tested */
	log_set_level(LOG_ERROR);
	assert_int_equal(problems_new(&p), 0);
	return p;
}

static void generation_read(void *arg, const struct source_error *err)
{
	*(int64_t *)arg = err->generation;
}

static void a_problem_that_stays_is_kept_once(void **state)
{
	_cleanup_(problems_freep) struct problems *p = start();
	struct source_error moved = in_file;
	int64_t generation = 0;
	json_t *json;

	problems_add(p, PROBLEM_SOURCE, &in_file);
	problems_clear_file(p, "a.yaml");
	assert_int_equal(count(p), 0);
	moved.line = 9;
	moved.generation = 2;
	problems_add(p, PROBLEM_SOURCE, &moved);
	problems_settle(p);
	json = problems_to_json(p);
	assert_int_equal(json_array_size(json), 1);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json, 0), "line")), 9);
	assert_string_equal(json_string_value(json_object_get(json_array_get(json, 0), "severity")),
			    "error");
	json_decref(json);
	problems_for_each(p, generation_read, &generation);
	assert_int_equal(generation, 2);
}

static void a_problem_that_is_repaired_goes(void **state)
{
	_cleanup_(problems_freep) struct problems *p = start();
	struct source_error other = in_file;

	other.file = "b.yaml";
	problems_add(p, PROBLEM_SOURCE, &in_file);
	problems_add(p, PROBLEM_SOURCE, &other);
	problems_clear_file(p, "a.yaml");
	problems_settle(p);
	assert_int_equal(count(p), 1);
}

/* No JSON takes that. */
static void a_file_whose_name_is_no_utf8_is_told_of(void **state)
{
	_cleanup_(problems_freep) struct problems *p = start();
	struct source_error other = in_file;
	json_t *json;

	other.file = "\xe9.yaml";
	problems_add(p, PROBLEM_SOURCE, &other);
	json = problems_to_json(p);
	assert_string_equal(json_string_value(json_object_get(json_array_get(json, 0), "file")),
			    "?.yaml");
	json_decref(json);
	problems_clear_file(p, other.file);
	assert_int_equal(count(p), 0);
}

static void source_and_model_do_not_clear_each_other(void **state)
{
	_cleanup_(problems_freep) struct problems *p = start();
	struct source_error warning = in_file;

	warning.is_warning = true;
	problems_add(p, PROBLEM_SOURCE, &in_file);
	problems_add(p, PROBLEM_MODEL, &warning);
	assert_int_equal(problems_count(p, false), 1);
	problems_clear_file(p, "a.yaml");
	assert_int_equal(problems_count(p, false), 0);
	assert_int_equal(problems_count(p, true), 1);
	problems_settle(p);
	assert_int_equal(count(p), 1);
	problems_clear_object(p, "Pod", "demo", "other");
	problems_settle(p);
	assert_int_equal(count(p), 1);
	problems_clear_object(p, "Pod", "demo", "web");
	problems_settle(p);
	assert_int_equal(count(p), 0);
}

static void what_hides_a_policy_is_waited_for_however_many_there_are(void **state)
{
	_cleanup_(problems_freep) struct problems *p = start();
	struct source_error err = in_file, hiding = in_file;

	log_set_level(LOG_OFF);
	hiding.file = "b.yaml";
	hiding.hides_policy = true;
	for (unsigned int i = 0; i < 10001; i++) {
		char field[16];

		(void)snprintf(field, sizeof(field), "%u", i);
		err.field = field;
		problems_add(p, PROBLEM_SOURCE, &err);
	}
	assert_int_equal(problems_await(p), 0);
	problems_add(p, PROBLEM_SOURCE, &hiding);
	assert_int_equal(problems_await(p), 1);
	problems_clear_file(p, "b.yaml");
	assert_int_equal(problems_await(p), 0);
	problems_add(p, PROBLEM_SOURCE, &hiding);
	problems_settle(p);
	assert_int_equal(problems_await(p), 1);
	log_set_level(LOG_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_problem_that_stays_is_kept_once),
		cmocka_unit_test(a_problem_that_is_repaired_goes),
		cmocka_unit_test(a_file_whose_name_is_no_utf8_is_told_of),
		cmocka_unit_test(source_and_model_do_not_clear_each_other),
		cmocka_unit_test(what_hides_a_policy_is_waited_for_however_many_there_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* object - paths find values and lines, odd paths find nothing, references are counted. */
#include "source/object.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char text[] = "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\","
			   "\"labels\":{\"app.kubernetes.io/name\":\"x\"},"
			   "\"annotations\":{\"a/"
			   "b\":\"c\"}},\"spec\":{\"ports\":[{\"port\":80},{\"port\":81,\"name\":"
			   "null}],\"flag\":true}}";

static struct object *make(const unsigned int *lines, size_t n)
{
	struct object_init init = {
		.kind = "Pod",
		.namespace_ = "n",
		.name = "p",
		.file = "f.yaml",
		.line = 3,
		.body = json_loads(text, 0, NULL),
		.lines_count = n,
	};
	struct object *o = NULL;

	if (n) {
		init.lines = malloc(n * sizeof(*lines));
		memcpy(init.lines, lines, n * sizeof(*lines));
	}
	assert_int_equal(object_new(&init, &o), 0);
	return o;
}

static void finds_values_by_path(void **state)
{
	_cleanup_(object_unrefp) struct object *o = make(NULL, 0);

	assert_string_equal(object_string(o, "metadata.name"), "p");
	assert_string_equal(object_string(o, "metadata.labels[app.kubernetes.io/name]"), "x");
	assert_int_equal(json_integer_value(object_value(o, "spec.ports[1].port")), 81);
	assert_true(json_is_true(object_value(o, "spec.flag")));
	assert_string_equal(object_label(o, "app.kubernetes.io/name"), "x");
	assert_string_equal(object_annotation(o, "a/b"), "c");
	assert_ptr_equal(object_value(o, ""), o->body);
}

static void finds_nothing_where_nothing_is(void **state)
{
	static const char *const paths[] = {
		"spec.ports[2].port",
		"spec.ports[x]",
		"spec.ports.port",
		"spec.ports[1].name",
		"nope",
		"spec.flag.deeper",
		"spec..flag",
		"spec.ports[",
		"spec.ports[]",
		".",
		"metadata.name[0]",
	};
	_cleanup_(object_unrefp) struct object *o = make(NULL, 0);

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_null(object_value(o, paths[i]));
	assert_null(object_string(o, "spec.flag"));
	assert_null(object_label(o, "nope"));
	assert_null(object_label(NULL, "nope"));
	assert_null(object_annotation(NULL, "nope"));
}

static void tells_the_line_of_a_field_or_of_what_is_there(void **state)
{
	/* root kind metadata name namespace labels x annotations c spec ports [0] port [1] port
	 * name flag */
	static const unsigned int lines[] = {1,  2,  3,  4,  5,  6,  7,  8, 9,
					     10, 11, 12, 12, 13, 13, 14, 15};
	_cleanup_(object_unrefp) struct object *o = make(lines, ARRAY_SIZE(lines));

	assert_int_equal(object_line(o, ""), 1);
	assert_int_equal(object_line(o, "kind"), 2);
	assert_int_equal(object_line(o, "metadata.labels[app.kubernetes.io/name]"), 7);
	assert_int_equal(object_line(o, "spec.ports[1]"), 13);
	assert_int_equal(object_line(o, "spec.ports[1].name"), 14);
	assert_int_equal(object_line(o, "spec.ports[1].targetPort"), 13);
	assert_int_equal(object_line(o, "spec.flag"), 15);
	assert_int_equal(object_line(o, "spec.selector.matchLabels"), 10);
	assert_int_equal(object_line(o, "status.phase"), 1);
}

static void falls_back_to_the_line_of_the_object(void **state)
{
	_cleanup_(object_unrefp) struct object *o = make(NULL, 0);

	assert_int_equal(object_line(o, "spec.flag"), 3);
}

static void refuses_what_is_no_object(void **state)
{
	struct object *o = NULL;

	assert_int_equal(object_new_json(json_array(), &o), -EINVAL);
	assert_int_equal(object_new_json(json_pack("{s:s}", "kind", "Pod"), &o), -EINVAL);
	assert_int_equal(object_new_json(json_pack("{s:{s:s}}", "metadata", "name", "x"), &o),
			 -EINVAL);
	assert_null(o);
	assert_null(object_unref(NULL));
}

static void lives_until_its_last_reference(void **state)
{
	struct object *o = NULL;

	assert_int_equal(object_new_json(json_loads(text, 0, NULL), &o), 0);
	assert_string_equal(o->namespace_, "n");
	assert_ptr_equal(object_ref(o), o);
	assert_null(object_unref(o));
	assert_string_equal(o->name, "p");
	assert_null(object_unref(o));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_values_by_path),
		cmocka_unit_test(finds_nothing_where_nothing_is),
		cmocka_unit_test(tells_the_line_of_a_field_or_of_what_is_there),
		cmocka_unit_test(falls_back_to_the_line_of_the_object),
		cmocka_unit_test(refuses_what_is_no_object),
		cmocka_unit_test(lives_until_its_last_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

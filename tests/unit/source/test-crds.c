/* SPDX-License-Identifier: Apache-2.0 */
/* The definitions that the chart installs and the tables that the control plane checks with know
 * the same fields: one that is in one of them alone would be lost, or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "source/schema.h"
#include "source/yaml.h"

#define FILE_NAME "tools/deploy/chart/crds/crds.yaml"
#define PATH_SIZE 512

static size_t n_compared;

static const struct schema_field *field_find(const struct schema *s, const char *name)
{
	for (const struct schema_field *f = s->fields; f && f->name; f++)
		if (streq(f->name, name))
			return f;
	return NULL;
}

static const struct schema *value_of(const struct schema *s)
{
	return s->type == SCHEMA_LIST || s->type == SCHEMA_MAP ? s->item : s;
}

static const json_t *value_of_openapi(const json_t *o)
{
	const json_t *items = json_object_get(o, "items");

	return items ? items : json_object_get(o, "additionalProperties");
}

static void compare_fields(const struct schema *s, const json_t *properties, const char *path);

static void compare(const struct schema *s, const json_t *o, const char *path)
{
	n_compared++;
	if (s->type == SCHEMA_OBJECT && !s->is_open) {
		compare_fields(s, json_object_get(o, "properties"), path);
	} else if (s->type == SCHEMA_LIST || s->type == SCHEMA_MAP) {
		assert_string_equal(json_string_value(json_object_get(o, "type")),
				    s->type == SCHEMA_LIST ? "array" : "object");
		if (value_of(s) && value_of_openapi(o))
			compare(value_of(s), value_of_openapi(o), path);
	}
	for (const char *const *w = s->words; s->type == SCHEMA_STRING && w && *w; w++) {
		const json_t *values = json_object_get(o, "enum");
		bool is_there = false;

		for (size_t i = 0; i < json_array_size(values); i++)
			is_there |= streq(*w, json_string_value(json_array_get(values, i)));
		if (!is_there)
			fail_msg("%s: %s is not among the values of " FILE_NAME, path, *w);
	}
}

static void compare_fields(const struct schema *s, const json_t *properties, const char *path)
{
	const char *key;
	json_t *child;

	for (const struct schema_field *f = s->fields; f && f->name; f++)
		if (!json_object_get(properties, f->name))
			fail_msg("%s.%s is not in " FILE_NAME, path, f->name);
	json_object_foreach ((json_t *)properties, key, child) {
		const struct schema_field *f = field_find(s, key);
		char at[PATH_SIZE];

		if (!f) {
			fail_msg("%s.%s is unknown to the control plane", path, key);
			continue;
		}
		(void)snprintf(at, sizeof(at), "%s.%s", path, key);
		compare(f->schema, child, at);
	}
}

static int on_document(void *arg, const struct yaml_document *doc)
{
	const json_t *spec = json_object_get(doc->body, "spec");
	const char *name =
		json_string_value(json_object_get(json_object_get(spec, "names"), "kind"));
	const struct schema_kind *kind = name ? schema_kind_find(name) : NULL;
	const json_t *version, *openapi;

	if (!kind)
		return 0;
	for (size_t i = 0; kind->api_versions[i]; i++) {
		version = json_array_get(json_object_get(spec, "versions"), i);
		assert_string_equal(json_string_value(json_object_get(version, "name")),
				    strchr(kind->api_versions[i], '/') + 1);
		openapi = json_object_get(
			json_object_get(json_object_get(json_object_get(version, "schema"),
							"openAPIV3Schema"),
					"properties"),
			"spec");
		compare(field_find(kind->schema, "spec")->schema, openapi, name);
	}
	++*(unsigned int *)arg;
	return 0;
}

static void both_know_the_same_fields(void **state)
{
	_cleanup_(freep) char *text = NULL;
	struct yaml_problem problem = {0};
	unsigned int n = 0;
	size_t len;

	assert_int_equal(file_read(FILE_NAME, 1 << 20, &text, &len), 0);
	assert_int_equal(yaml_parse(text, len, on_document, &n, &problem), 0);
	assert_int_equal(n, 6);
	assert_true(n_compared > 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(both_know_the_same_fields)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

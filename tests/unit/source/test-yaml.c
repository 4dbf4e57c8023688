/* SPDX-License-Identifier: Apache-2.0 */
/* yaml, scalar - words become what Kubernetes takes them for, lines are kept, hostile texts are
 * bounded. */
#include "source/yaml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "source/scalar.h"

struct seen {
	char text[4096];
	unsigned int documents, bad_line, lines[64];
	size_t lines_count;
	char problem[160];
	int result;
};

static int on_document(void *arg, const struct yaml_document *doc)
{
	struct seen *s = arg;
	char *text = json_dumps(doc->body, JSON_COMPACT | JSON_ENCODE_ANY);

	s->documents++;
	(void)snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text), "%s%s",
		       s->documents > 1 ? " " : "", text);
	free(text);
	s->bad_line = doc->bad_line;
	memcpy(s->problem, doc->problem, sizeof(s->problem));
	s->lines_count = doc->lines_count;
	for (size_t i = 0; i < MIN(doc->lines_count, ARRAY_SIZE(s->lines)); i++)
		s->lines[i] = doc->lines[i];
	return s->result;
}

static int parse(const char *text, struct seen *s, struct yaml_problem *problem)
{
	memset(s, 0, sizeof(*s));
	return yaml_parse(text, strlen(text), on_document, s, problem);
}

static void reads_scalars_as_kubernetes_does(void **state)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
		{"a: 1", "{\"a\":1}"},
		{"a: -7", "{\"a\":-7}"},
		{"a: 0x10", "{\"a\":16}"},
		{"a: 0o17", "{\"a\":15}"},
		{"a: 017", "{\"a\":15}"},
		{"a: 08", "{\"a\":8}"},
		{"a: 1.5", "{\"a\":1.5}"},
		{"a: .5", "{\"a\":0.5}"},
		{"a: 1e3", "{\"a\":1000.0}"},
		{"a: true", "{\"a\":true}"},
		{"a: yes", "{\"a\":true}"},
		{"a: off", "{\"a\":false}"},
		{"a: y", "{\"a\":\"y\"}"},
		{"a: n", "{\"a\":\"n\"}"},
		{"a: \"yes\"", "{\"a\":\"yes\"}"},
		{"a: '1'", "{\"a\":\"1\"}"},
		{"a: !!str 1", "{\"a\":\"1\"}"},
		{"a:", "{\"a\":null}"},
		{"a: ~", "{\"a\":null}"},
		{"a: ''", "{\"a\":\"\"}"},
		{"a: 1.2.3", "{\"a\":\"1.2.3\"}"},
		{"a: 10.0.0.1", "{\"a\":\"10.0.0.1\"}"},
		{"a: inf", "{\"a\":\"inf\"}"},
		{"a: nan", "{\"a\":\"nan\"}"},
		{"a: 0x", "{\"a\":\"0x\"}"},
		{"a: 1-2", "{\"a\":\"1-2\"}"},
		{"a: +3", "{\"a\":3}"},
		{"a: 2026-11-21", "{\"a\":\"2026-11-21\"}"},
		{"1: x", "{\"1\":\"x\"}"},
		{"{\"a\": [1, {\"b\": null}]}", "{\"a\":[1,{\"b\":null}]}"},
		{"a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}"},
		{"a: 99999999999999999999", "{\"a\":1e20}"},
	};
	struct yaml_problem problem;
	struct seen s;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(parse(cases[i].yaml, &s, &problem), 0);
		assert_string_equal(s.text, cases[i].json);
		assert_int_equal(s.bad_line, 0);
	}
}

static void gives_each_document_and_skips_empty_ones(void **state)
{
	struct yaml_problem problem;
	struct seen s;

	assert_int_equal(parse("---\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n", &s, &problem),
			 0);
	assert_int_equal(s.documents, 2);
	assert_string_equal(s.text, "{\"a\":1} {\"b\":2}");
	assert_int_equal(parse("", &s, &problem), 0);
	assert_int_equal(s.documents, 0);
}

static void keeps_the_line_of_every_node_in_order(void **state)
{
	static const unsigned int want[] = {2, 2, 3, 4, 5, 6, 6};
	struct yaml_problem problem;
	struct seen s;

	assert_int_equal(parse("# head\na: 1\nb:\n  c: x\n  d:\n  - e: 2\n", &s, &problem), 0);
	/* root, a, b, c, d, element, e */
	assert_int_equal(s.lines_count, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(s.lines[i], want[i]);
}

static void expands_aliases(void **state)
{
	struct yaml_problem problem;
	struct seen s;

	assert_int_equal(parse("a: &x {k: 1}\nb: *x\nc: [*x, 2]\n", &s, &problem), 0);
	assert_string_equal(s.text, "{\"a\":{\"k\":1},\"b\":{\"k\":1},\"c\":[{\"k\":1},2]}");
	assert_int_equal(s.lines_count, 9);
}

static void notes_what_cannot_be_used_and_reads_on(void **state)
{
	static const struct {
		const char *yaml, *problem;
		unsigned int line;
	} cases[] = {
		{"a: 1\nb: 2\na: 3\n", "duplicate key \"a\"", 3},
		{"a: !foo 1\n", "tag", 1},
		{"a: !!int \"3\"\n", "tag", 1},
		{"a: 1\nb: *nothing\n", "no anchor \"nothing\"", 2},
		{"a: &x [*x]\n", "no anchor \"x\"", 1},
		{"a: \"x\\0y\"\n", "NUL", 1},
		{"\"x\\0y\": 1\n", "NUL", 1},
		{"[a]: 1\n", "not a plain word", 1},
		{"{x: 1}: {y: [2]}\nz: 3\n", "not a plain word", 1},
		{"a: &x {k: 1}\nb:\n  <<: *x\n", "merge", 3},
	};
	struct yaml_problem problem;
	struct seen s;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(parse(cases[i].yaml, &s, &problem), 0);
		assert_int_equal(s.documents, 1);
		assert_int_equal(s.bad_line, cases[i].line);
		assert_non_null(strstr(s.problem, cases[i].problem));
	}
}

static void gives_what_stands_before_broken_text(void **state)
{
	static const struct {
		const char *yaml;
		unsigned int documents, line;
	} cases[] = {
		{"a: 1\n---\nb: [\n", 1, 4}, {"a: b: c\n", 0, 1}, {"a: 1\n b: 2\n", 0, 2},
		{"\ta: 1\n", 0, 1},          {"a: 'x\n", 0, 2},   {"%YAML 9.9\n---\na: 1\n", 0, 1},
		{"a: \xff\xfe\n", 0, 1},
	};
	struct yaml_problem problem;
	struct seen s;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		problem.line = 0;
		assert_int_equal(parse(cases[i].yaml, &s, &problem), -EBADMSG);
		assert_int_equal(s.documents, cases[i].documents);
		assert_int_equal(problem.line, cases[i].line);
		assert_non_null(strstr(problem.message, "not YAML"));
	}
}

static void append(char *text, const char *more)
{
	memcpy(text + strlen(text), more, strlen(more) + 1);
}

static void stops_at_its_depth(void **state)
{
	char text[8 * YAML_DEPTH_MAX] = "";
	struct yaml_problem problem;
	struct seen s;

	for (int i = 0; i < YAML_DEPTH_MAX + 5; i++)
		append(text, "[");
	for (int i = 0; i < YAML_DEPTH_MAX + 5; i++)
		append(text, "]");
	assert_int_equal(parse(text, &s, &problem), 0);
	assert_int_equal(s.bad_line, 1);
	assert_non_null(strstr(s.problem, "deep"));
}

static int count_only(void *arg, const struct yaml_document *doc)
{
	*(unsigned int *)arg = doc->bad_line;
	return 0;
}

static void bounds_nodes_and_alias_depth(void **state)
{
	_cleanup_(freep) char *text = calloc(1, 65536);
	unsigned int bad_line = 0;
	struct yaml_problem problem;

	append(text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 12; i++)
		(void)sprintf(text + strlen(text),
			      "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i,
			      i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1,
			      i - 1);
	assert_int_equal(yaml_parse(text, strlen(text), count_only, &bad_line, &problem), 0);
	assert_true(bad_line >= 5 && bad_line <= 7);

	text[0] = '\0';
	append(text, "a0: &a0 [x]\n");
	for (int i = 1; i < 200; i++)
		(void)sprintf(text + strlen(text), "a%d: &a%d [*a%d]\n", i, i, i - 1);
	bad_line = 0;
	assert_int_equal(yaml_parse(text, strlen(text), count_only, &bad_line, &problem), 0);
	assert_int_equal(bad_line, YAML_DEPTH_MAX);
}

static void stops_when_told_to(void **state)
{
	struct yaml_problem problem;
	struct seen s = {.result = 7};

	assert_int_equal(yaml_parse("a: 1\n---\nb: 2\n", 14, on_document, &s, &problem), 7);
	assert_int_equal(s.documents, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_scalars_as_kubernetes_does),
		cmocka_unit_test(gives_each_document_and_skips_empty_ones),
		cmocka_unit_test(keeps_the_line_of_every_node_in_order),
		cmocka_unit_test(expands_aliases),
		cmocka_unit_test(notes_what_cannot_be_used_and_reads_on),
		cmocka_unit_test(gives_what_stands_before_broken_text),
		cmocka_unit_test(stops_at_its_depth),
		cmocka_unit_test(bounds_nodes_and_alias_depth),
		cmocka_unit_test(stops_when_told_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

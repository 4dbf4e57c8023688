/* SPDX-License-Identifier: Apache-2.0 */
/* cel - what expressions mean; what is not understood is named; a value that is missing decides
 * nothing. */
#include "base/cel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct cel_attribute attributes[] = {
	{"response.code", CEL_INT},       {"connection.mtls", CEL_BOOL},
	{"source.address", CEL_STRING},   {"request.duration", CEL_DURATION},
	{"source.principal", CEL_STRING}, {NULL, CEL_BOOL}};

/* 503, true, "10.0.0.1:4000", 2 s; no principal. */
static bool get(void *arg, size_t attribute, struct cel_value *ret)
{
	ret->number = attribute == 0 ? 503 : attribute == 3 ? 2000000000LL : 1;
	ret->text = "10.0.0.1:4000";
	return attribute != 4;
}

/* 'y', 'n', or '?': a value is missing; aborts the test where it is not understood. */
static char answer(const char *text)
{
	const struct cel_env env = {.get = get};
	struct cel_problem problem;
	struct cel_value value;
	struct cel *c = NULL;
	char says;

	if (cel_parse(text, attributes, &c, &problem) < 0)
		fail_msg("%s: %s", text, problem.text);
	assert_int_equal(cel_result(c), CEL_BOOL);
	says = cel_eval(c, &env, &value) < 0 ? '?' : value.number ? 'y' : 'n';
	free(c);
	return says;
}

static void expressions_mean_what_the_language_says(void **state)
{
	static const struct {
		const char *text;
		char says;
	} cases[] = {
		{"true", 'y'},
		{"response.code >= 500", 'y'},
		{"response.code==503&&connection.mtls", 'y'},
		{"!connection.mtls", 'n'},
		{"!!connection.mtls", 'y'},
		{"false || true && false", 'n'},
		{"(false || true) && !false", 'y'},
		{"response.code < -1 || response.code > 0x1F6", 'y'},
		{"response.code in [200, 503]", 'y'},
		{"response.code in []", 'n'},
		{"source.address in ['a', \"10.0.0.1:4000\"]", 'y'},
		{"source.address.startsWith('10.')", 'y'},
		{"source['address'].endsWith(':4000')", 'y'},
		{"source.address.contains('0.1') == true", 'y'},
		{"size(source.address) == source.address.size()", 'y'},
		{"'a\\'b' == \"a'b\" && r'\\d' == '\\\\d'", 'y'},
		{"string(response.code) == '503' && string(true) == 'true'", 'y'},
		{"request.duration > duration('1s')", 'y'},
		{"request.duration > duration('1m30s500ms')", 'n'},
		{"connection.mtls ? response.code == 503 : false", 'y'},
		{"has(source.address) && !has(source.principal)", 'y'},
		{"source.principal == 'a'", '?'},
		{"source.principal != 'a'", '?'},
		{"!(source.principal == 'a')", '?'},
		/* what decides without it, on either side */
		{"source.principal == 'a' || connection.mtls", 'y'},
		{"connection.mtls || source.principal == 'a'", 'y'},
		{"source.principal == 'a' && !connection.mtls", 'n'},
		{"source.principal == 'a' && connection.mtls", '?'},
		{"has(source.principal) && source.principal == 'a'", 'n'},
		{"has(source.principal) ? source.principal == 'a' : true", 'y'},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (answer(cases[i].text) != cases[i].says)
			fail_msg("%s: not %c", cases[i].text, cases[i].says);
}

static void what_is_not_understood_is_named(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "a value is expected at the end"},
		{"request.host == 'a'", "request.host has no meaning here"},
		{"request.headers['a-b'] == 'c'", "request.headers.a-b has no meaning here"},
		{"source", "source has no meaning here"},
		{"response.code >= '500'", ">= compares two different types"},
		{"connection.mtls > false", "> does not compare true and false"},
		{"response.code && true", "&& takes true or false"},
		{"!response.code", "! takes true or false"},
		{"source.address.matches('a')", "the function .matches() is not understood"},
		{"response.code.size() == 1", "the function .size() is not understood"},
		{"source.address.startsWith(1)", "startsWith() takes a string"},
		{"timestamp('x') == 1", "the function timestamp() is not understood"},
		{"response.code == 1.5", "is no whole number"},
		{"response.code == 99999999999999999999", "is no whole number"},
		{"source.address == 'a", "a string does not end"},
		{"source.address == 'a\\x'", "the escape \"\\x\" is not understood"},
		/* of a character of two bytes the first is quoted, which is none */
		{"source.address == 'a\\\xc3\xa9'", "the escape \"\\?\" is not understood"},
		{"true \xc3\xa9"
		 "a\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3"
		 "\xa9",
		 "\xc3\xa9?\" is not"},
		{"request.duration > duration('1 day')", "duration() takes a string"},
		{"request.duration > duration('9999999999999s')", "duration() takes a string"},
		{"response.code in ['a']", "a list holds another type"},
		{"(true", "expected \")\" before"},
		{"true false", "\"false\" is not understood"},
		{"true ? 1 : 'a'", "? : takes a condition and two values of one type"},
		{"response.code + 1 == 2", "\"+ 1 == 2\" is not understood"},
		{" connection . mtls", "a name is expected before \" mtls\""},
	};
	struct cel_problem problem;
	struct cel *c = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(cel_parse(cases[i].text, attributes, &c, &problem), -EINVAL);
		if (!strstr(problem.text, cases[i].message))
			fail_msg("%s: %s", cases[i].text, problem.text);
	}
	assert_null(c);
}

static void it_is_bounded(void **state)
{
	char text[4096];
	struct cel_problem problem;
	struct cel *c = NULL;
	size_t n = 0;

	memset(text, '(', 500);
	text[500] = '\0';
	assert_int_equal(cel_parse(text, attributes, &c, &problem), -EINVAL);
	assert_string_equal(problem.text, "it is nested too deeply");
	memset(text, '!', 500);
	assert_int_equal(cel_parse(text, attributes, &c, &problem), -EINVAL);
	for (; n < 900; n += 6)
		memcpy(text + n, "true||", 6);
	memcpy(text + n, "true", 5);
	assert_int_equal(cel_parse(text, attributes, &c, &problem), -EINVAL);
	assert_string_equal(problem.text, "it is too long");
	memset(text, ' ', CEL_TEXT_MAX + 1);
	memcpy(text + CEL_TEXT_MAX + 1, "true", 5);
	assert_int_equal(cel_parse(text, attributes, &c, &problem), -EINVAL);
	assert_null(c);
}

static void a_copy_of_a_program_is_that_program(void **state)
{
	const struct cel_env env = {.get = get};
	struct cel_problem problem;
	struct cel_value value;
	struct cel *c = NULL;
	void *copy;

	assert_int_equal(cel_parse("source.address == '10.0.0.1:4000' && response.code == 503",
				   attributes, &c, &problem),
			 0);
	assert_int_equal(cel_uses(c), 1 | 4);
	copy = malloc(cel_size(c));
	assert_non_null(copy);
	memcpy(copy, c, cel_size(c));
	free(c);
	assert_int_equal(cel_eval(copy, &env, &value), 0);
	assert_true(value.number);
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expressions_mean_what_the_language_says),
		cmocka_unit_test(what_is_not_understood_is_named),
		cmocka_unit_test(it_is_bounded),
		cmocka_unit_test(a_copy_of_a_program_is_that_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

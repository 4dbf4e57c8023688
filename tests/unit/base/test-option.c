/* SPDX-License-Identifier: Apache-2.0 */
/* option - every way to write an option; a mistake is named in a sentence. */
#include "base/option.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct options {
	const char *name;
	uint64_t workers;
	bool is_verbose;
	const char *from_env;
	struct option_list tags;
};

static const struct option_def defs[] = {
	{.name = "name",
	 .short_name = 'n',
	 .type = OPTION_STRING,
	 .offset = offsetof(struct options, name),
	 .help = "h"},
	{.name = "workers",
	 .type = OPTION_U64,
	 .offset = offsetof(struct options, workers),
	 .default_value = "2",
	 .min = 1,
	 .max = 64,
	 .env = "CULVERT_TEST_WORKERS",
	 .help = "h"},
	{.name = "verbose",
	 .short_name = 'v',
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct options, is_verbose),
	 .help = "h"},
	{.name = "from-env",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct options, from_env),
	 .default_value = "default",
	 .env = "CULVERT_TEST_FROM_ENV",
	 .help = "h"},
	{.name = "tag",
	 .short_name = 't',
	 .type = OPTION_LIST,
	 .offset = offsetof(struct options, tags),
	 .help = "h"},
	{0},
};

/* parse() - arguments in one string, divided by blanks. */
static int parse(const char *line, struct options *o, int *rest, char err[128])
{
	static char copy[256];
	char *argv[16] = {"prog"};
	char *save = NULL;
	int argc = 1;

	strncpy(copy, line, sizeof(copy) - 1);
	for (char *p = strtok_r(copy, " ", &save); p && argc < 15; p = strtok_r(NULL, " ", &save))
		argv[argc++] = p;
	return option_parse(defs, o, argc, argv, rest, err, 128);
}

static void a_list_keeps_each_value(void **state)
{
	struct options o;
	char err[128], *many[2 * OPTION_LIST_MAX + 3] = {"prog"};
	int rest;

	assert_int_equal(parse("--tag a -t b --tag=a rest", &o, &rest, err), 0);
	assert_int_equal(o.tags.count, 3);
	assert_string_equal(o.tags.values[0], "a");
	assert_string_equal(o.tags.values[1], "b");
	assert_string_equal(o.tags.values[2], "a");
	assert_int_equal(parse("", &o, &rest, err), 0);
	assert_int_equal(o.tags.count, 0);
	for (size_t i = 1; i < ARRAY_SIZE(many); i++)
		many[i] = i % 2 ? "-t" : "x";
	assert_int_equal(option_parse(defs, &o, ARRAY_SIZE(many) - 2, many, &rest, err, 128), 0);
	assert_int_equal(option_parse(defs, &o, ARRAY_SIZE(many), many, &rest, err, 128), -EINVAL);
	assert_string_equal(err, "-t: given more than 64 times");
}

static void all_spellings_work(void **state)
{
	struct options o;
	char err[128];
	int rest;

	assert_int_equal(parse("--name a --workers=7 -v rest -n x", &o, &rest, err), 0);
	assert_string_equal(o.name, "a");
	assert_int_equal(o.workers, 7);
	assert_true(o.is_verbose);
	assert_int_equal(rest, 5);
	assert_int_equal(parse("-n b --verbose=false", &o, &rest, err), 0);
	assert_string_equal(o.name, "b");
	assert_false(o.is_verbose);
	assert_int_equal(rest, 4);
	assert_int_equal(parse("-v=false -n=c", &o, &rest, err), 0);
	assert_string_equal(o.name, "c");
	assert_false(o.is_verbose);
	assert_int_equal(parse("-vnshop rest", &o, &rest, err), 0);
	assert_string_equal(o.name, "shop");
	assert_true(o.is_verbose);
	assert_int_equal(rest, 2);
	assert_int_equal(parse("-vn shop rest", &o, &rest, err), 0);
	assert_string_equal(o.name, "shop");
	assert_int_equal(rest, 3);
	assert_int_equal(parse("-v -- --name", &o, &rest, err), 0);
	assert_int_equal(rest, 3);
	assert_int_equal(parse("- x", &o, &rest, err), 0);
	assert_int_equal(rest, 1);
}

static void who_takes_the_next_argument_is_known(void **state)
{
	static const char *const with[] = {"--name", "--workers", "-n", "-vn", "-vvt"};
	static const char *const without[] = {
		"--name=x", "--verbose", "-v", "-nx", "-n=", "-v=false", "-xn", "-", "--", "n"};

	for (size_t i = 0; i < ARRAY_SIZE(with); i++)
		assert_true(option_takes_next(defs, with[i]));
	for (size_t i = 0; i < ARRAY_SIZE(without); i++)
		assert_false(option_takes_next(defs, without[i]));
}

static void defaults_then_environment_then_arguments(void **state)
{
	struct options o;
	char err[128];
	int rest;

	assert_int_equal(parse("", &o, &rest, err), 0);
	assert_null(o.name);
	assert_int_equal(o.workers, 2);
	assert_string_equal(o.from_env, "default");
	assert_int_equal(setenv("CULVERT_TEST_FROM_ENV", "env", 1), 0);
	assert_int_equal(parse("", &o, &rest, err), 0);
	assert_string_equal(o.from_env, "env");
	assert_int_equal(parse("--from-env arg", &o, &rest, err), 0);
	assert_string_equal(o.from_env, "arg");
	assert_int_equal(unsetenv("CULVERT_TEST_FROM_ENV"), 0);
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *line, *err;
	} table[] = {
		{"--workers 99", "--workers: 99 is not in 1..64"},
		{"--workers=0", "--workers: 0 is not in 1..64"},
		{"--workers x", "--workers: \"x\" is not a number"},
		{"--workers=", "--workers: \"\" is not a number"},
		{"--name", "--name: needs a value"},
		{"--nam x", "unknown option --nam (--help lists them)"},
		{"--name2=x", "unknown option --name2=x (--help lists them)"},
		{"-x", "unknown option -x (--help lists them)"},
		{"-vx", "unknown option -vx (--help lists them)"},
		{"-vn", "-n: needs a value"},
		{"-v=maybe", "-v: \"maybe\" is neither true nor false"},
		{"--verbose=maybe", "--verbose: \"maybe\" is neither true nor false"},
	};
	struct options o;
	char err[128];
	int rest;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		rest = 99;
		assert_int_equal(parse(table[i].line, &o, &rest, err), -EINVAL);
		assert_string_equal(err, table[i].err);
		assert_int_equal(rest, 99);
	}
	assert_int_equal(setenv("CULVERT_TEST_WORKERS", "many", 1), 0);
	assert_int_equal(parse("", &o, &rest, err), -EINVAL);
	assert_string_equal(err, "$CULVERT_TEST_WORKERS: \"many\" is not a number");
	assert_int_equal(unsetenv("CULVERT_TEST_WORKERS"), 0);
}

static void help_is_asked_for(void **state)
{
	struct options o;
	char err[128];
	int rest;

	assert_int_equal(parse("-v --help", &o, &rest, err), -ECANCELED);
	assert_int_equal(parse("-h", &o, &rest, err), -ECANCELED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_spellings_work),
		cmocka_unit_test(a_list_keeps_each_value),
		cmocka_unit_test(who_takes_the_next_argument_is_known),
		cmocka_unit_test(defaults_then_environment_then_arguments),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(help_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* profile - the named sets of values that an installation starts from. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "chart.h"
#include "cli.h"
#include "json.h"

#define PATH_BYTES 256

static int load(const char *profile, json_t **ret)
{
	char err[CHART_ERROR_MAX] = "out of memory";

	return chart_values(profile, ret, err) < 0 ? cli_fail("profile: %s", err) : 0;
}

static int list(void)
{
	for (const struct chart_profile *p = chart_profiles(); p->name; p++)
		printf("%-12s %s\n", p->name, p->help);
	return 0;
}

static int dump(const char *profile)
{
	_cleanup_(json_decrefp) json_t *values = NULL;

	if (load(profile, &values) != 0)
		return 1;
	json_print_yaml(values, stdout);
	return 0;
}

static void print_side(char sign, const char *path, const json_t *v)
{
	_cleanup_(freep) char *text = v ? json_dumps(v, JSON_ENCODE_ANY) : NULL;

	if (text)
		printf("%c %s: %s\n", sign, path, text);
}

/* compare() - a line per value that differs. Return: is any? */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as the chart's own values */
static bool compare(const char *path, const json_t *a, const json_t *b)
{
	_cleanup_(json_decrefp) json_t *all = NULL;
	bool is_different = false;
	const char *key;
	json_t *v;

	if (json_is_object(a) && json_is_object(b)) {
		all = json_copy((json_t *)(uintptr_t)a);
		(void)json_object_update_missing(all, (json_t *)(uintptr_t)b);
		json_object_foreach (all, key, v) {
			char longer[PATH_BYTES];

			(void)snprintf(longer, sizeof(longer), "%s%s%s", path, *path ? "." : "",
				       key);
			is_different |=
				compare(longer, json_object_get(a, key), json_object_get(b, key));
		}
		return is_different;
	}
	if (a && b && json_equal(a, b))
		return false;
	print_side('-', path, a);
	print_side('+', path, b);
	return true;
}

static int diff(const char *first, const char *second)
{
	_cleanup_(json_decrefp) json_t *a = NULL, *b = NULL;

	if (load(first, &a) != 0 || load(second, &b) != 0)
		return 2;
	return compare("", a, b) ? 1 : 0;
}

int cli_profile(int argc, char **argv)
{
	static const struct option_def none[] = {{0}};
	static const struct cli_syntax syntax = {
		.defs = none,
		.usage = "culvert profile list|dump|diff [PROFILE] [PROFILE]",
		.help = "The values that an installation starts from: list the profiles, dump one "
			"(default: default) as YAML, or diff two; diff ends with 1 when they "
			"differ. Each value can be changed with \"culvert manifest generate --set "
			"values.KEY=VALUE\".",
		.max_rest = 3,
	};
	char nothing;
	int r = cli_parse(&syntax, &nothing, argc, argv);
	const char *word = r > 0 && r < argc ? argv[r] : "";

	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (streq(word, "list") && argc - r == 1)
		return list();
	if (streq(word, "dump") && argc - r <= 2)
		return dump(argc - r == 2 ? argv[r + 1] : "default");
	if (streq(word, "diff") && argc - r == 3)
		return diff(argv[r + 1], argv[r + 2]);
	(void)cli_fail("profile: list, dump [PROFILE], or diff PROFILE PROFILE\nUsage: %s",
		       syntax.usage);
	return 2;
}

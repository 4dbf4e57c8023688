/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX 64
#define NEAR_MAX 2

const struct cli_command *cli_find(const struct cli_command *table, const char *name)
{
	for (const struct cli_command *c = table; c->name; c++)
		if (streq(c->name, name) || (c->alias && streq(c->alias, name)))
			return c;
	return NULL;
}

/* How many letters differ at least: Levenshtein's distance, of words that fit. */
static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1];

	for (size_t j = 0; j <= strlen(b); j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= strlen(b); j++) {
			size_t other = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			row[j] = MIN(other, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[strlen(b)];
}

const char *cli_nearest(const struct cli_command *table, const char *name)
{
	const char *best = NULL;
	size_t least = NEAR_MAX + 1;

	if (strlen(name) > WORD_MAX)
		return NULL;
	for (const struct cli_command *c = table; c->name; c++) {
		size_t d = distance(name, c->name);

		if (d < least && d < strlen(name)) {
			least = d;
			best = c->name;
		}
	}
	return best;
}

void cli_print_commands(const struct cli_command *table)
{
	for (const struct cli_command *c = table; c->name; c++) {
		char left[64];

		(void)snprintf(left, sizeof(left), "%s%s%s", c->name, c->alias ? ", " : "",
			       c->alias ? c->alias : "");
		printf("  %-22s %s\n", left, c->help);
	}
}

int cli_sub(const char *command, const struct cli_command *table, int argc, char **argv)
{
	bool is_help = argc > 1 && (streq(argv[1], "--help") || streq(argv[1], "-h"));
	const struct cli_command *c = argc > 1 ? cli_find(table, argv[1]) : NULL;
	const char *near;

	if (c)
		return c->run(argc - 1, argv + 1);
	near = argc > 1 && !is_help ? cli_nearest(table, argv[1]) : NULL;
	if (near)
		(void)cli_fail("%s: \"%s\" is unknown: is \"%s\" meant?", command, argv[1], near);
	else if (argc > 1 && !is_help)
		(void)cli_fail("%s: \"%s\" is unknown", command, argv[1]);
	printf("Usage: culvert %s COMMAND [options]\n\n", command);
	cli_print_commands(table);
	return is_help ? 0 : 2;
}

int cli_fail(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("culvert: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return 1;
}

int cli_check_output(const char *command, const char **output)
{
	/* which istioctl calls it by in some of its words */
	if (streq(*output, "table") || streq(*output, "log"))
		*output = "short";
	if (streq(*output, "short") || streq(*output, "json") || streq(*output, "yaml"))
		return 0;
	(void)cli_fail("%s: -o %s: not one of short, json, yaml", command, *output);
	return 2;
}

/* options_first() - people write options after arguments, too. Stable; stops at "--". */
static void options_first(const struct option_def *defs, int argc, char **argv)
{
	int options = 1;

	for (int i = 1; i < argc && !streq(argv[i], "--"); i++) {
		int n = argv[i][0] == '-' && argv[i][1] ? 1 : 0;

		if (n > 0 && i + 1 < argc && option_takes_next(defs, argv[i]))
			n = 2;
		for (int k = 0; k < n; k++) {
			char *moved = argv[i + k];

			memmove(&argv[options + 1], &argv[options],
				(size_t)(i + k - options) * sizeof(*argv));
			argv[options++] = moved;
		}
		i += n > 1 ? 1 : 0;
	}
}

int cli_parse(const struct cli_syntax *syntax, void *into, int argc, char **argv)
{
	char err[256];
	int rest, r;

	if (syntax->max_rest > 0)
		options_first(syntax->defs, argc, argv);
	r = option_parse(syntax->defs, into, argc, argv, &rest, err, sizeof(err));
	if (r == -ECANCELED) {
		option_help(syntax->defs, syntax->usage, syntax->help);
		return 0;
	}
	if (r == 0 && argc - rest > syntax->max_rest) {
		(void)snprintf(err, sizeof(err), "unexpected argument \"%s\"",
			       argv[rest + syntax->max_rest]);
		r = -EINVAL;
	}
	if (r < 0) {
		(void)cli_fail("%s: %s\nUsage: %s", argv[0], err, syntax->usage);
		return -EINVAL;
	}
	return rest;
}

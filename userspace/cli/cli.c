/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct cli_command *cli_find(const struct cli_command *table, const char *name)
{
	for (const struct cli_command *c = table; c->name; c++)
		if (streq(c->name, name) || (c->alias && streq(c->alias, name)))
			return c;
	return NULL;
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

int cli_parse(const struct cli_syntax *syntax, void *into, int argc, char **argv)
{
	char err[256];
	int rest, r;

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

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/option.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

#define HELP_COLUMNS    100
#define HELP_INDENT     30
#define OPTION_NAME_MAX 64

/* One run of the parser: where values go, and where the sentence about a mistake goes. */
struct parser {
	const struct option_def *defs;
	void *into;
	char **argv;
	int argc, at; /* the argument that is looked at */
	char *err;
	size_t err_size;
};

static int _printf_(2, 3) fail(const struct parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(p->err, p->err_size, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int parse_bool(const char *value, bool *ret)
{
	if (streq(value, "true") || streq(value, "1") || streq(value, "yes"))
		*ret = true;
	else if (streq(value, "false") || streq(value, "0") || streq(value, "no"))
		*ret = false;
	else
		return -EINVAL;
	return 0;
}

static int list_add(const struct parser *p, struct option_list *list, const char *name,
		    const char *value)
{
	if (list->count == OPTION_LIST_MAX)
		return fail(p, "%s: given more than %d times", name, OPTION_LIST_MAX);
	list->values[list->count++] = value;
	return 0;
}

/* option_set() - @name is where the value came from, for the message: "--workers",
 * "$CULVERT_WORKERS". */
static int option_set(const struct parser *p, const struct option_def *d, const char *name,
		      const char *value)
{
	void *field = (char *)p->into + d->offset;
	int r = 0;

	switch (d->type) {
	case OPTION_STRING:
		*(const char **)field = value;
		return 0;
	case OPTION_BOOL:
		if (parse_bool(value, field) < 0)
			return fail(p, "%s: \"%s\" is neither true nor false", name, value);
		return 0;
	case OPTION_LIST:
		return list_add(p, field, name, value);
	case OPTION_U64:
		r = str_parse_u64(value, d->min, d->max, field);
		break;
	}
	if (r == -ERANGE)
		return fail(p, "%s: %s is not in %" PRIu64 "..%" PRIu64, name, value, d->min,
			    d->max);
	return r < 0 ? fail(p, "%s: \"%s\" is not a number", name, value) : 0;
}

/* option_clear() - the value of an option that is given nowhere. */
static void option_clear(const struct parser *p, const struct option_def *d)
{
	void *field = (char *)p->into + d->offset;

	if (d->type == OPTION_STRING)
		*(const char **)field = NULL;
	else if (d->type == OPTION_U64)
		*(uint64_t *)field = 0;
	else if (d->type == OPTION_LIST)
		((struct option_list *)field)->count = 0;
	else
		*(bool *)field = false;
}

static int set_defaults(const struct parser *p)
{
	char name[OPTION_NAME_MAX];
	int r;

	for (const struct option_def *d = p->defs; d->name; d++) {
		const char *value = d->env ? getenv(d->env) : NULL;

		if (value && *value) {
			(void)snprintf(name, sizeof(name), "$%s", d->env);
		} else {
			value = d->default_value;
			(void)snprintf(name, sizeof(name), "default of --%s", d->name);
		}
		option_clear(p, d);
		r = value ? option_set(p, d, name, value) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct option_def *find_long(const struct option_def *defs, const char *s, size_t n)
{
	for (const struct option_def *d = defs; d->name; d++)
		if (strlen(d->name) == n && strncmp(d->name, s, n) == 0)
			return d;
	return NULL;
}

static const struct option_def *find_short(const struct option_def *defs, char c)
{
	for (const struct option_def *d = defs; d->name; d++)
		if (d->short_name == c)
			return d;
	return NULL;
}

/* take_next() - the next argument, as the value of what is called @name. */
static int take_next(struct parser *p, const struct option_def *d, const char *name)
{
	if (p->at + 1 >= p->argc)
		return fail(p, "%s: needs a value", name);
	return option_set(p, d, name, p->argv[++p->at]);
}

static int unknown(const struct parser *p, const char *arg)
{
	return fail(p, "unknown option %s (--help lists them)", arg);
}

/* parse_long() - "--name" or "--name=value". */
static int parse_long(struct parser *p)
{
	const char *arg = p->argv[p->at];
	size_t n = strcspn(arg, "=");
	const struct option_def *d = find_long(p->defs, arg + 2, n - 2);
	char name[OPTION_NAME_MAX];

	if (!d && streq(arg, "--help"))
		return -ECANCELED;
	if (!d)
		return unknown(p, arg);
	/* Name the option as it was typed, without "=value". */
	(void)snprintf(name, sizeof(name), "%.*s", (int)n, arg);
	if (arg[n])
		return option_set(p, d, name, arg + n + 1);
	if (d->type == OPTION_BOOL)
		return option_set(p, d, name, "true");
	return take_next(p, d, name);
}

/* parse_short() - letters: flags, and at the end one with a value, which may follow at once. */
static int parse_short(struct parser *p)
{
	const char *arg = p->argv[p->at];

	for (const char *at = arg + 1; *at; at++) {
		const struct option_def *d = find_short(p->defs, *at);
		const char name[] = {'-', *at, '\0'};
		int r;

		if (!d && *at == 'h')
			return -ECANCELED;
		if (!d)
			return unknown(p, arg);
		if (at[1] == '=')
			return option_set(p, d, name, at + 2);
		if (d->type != OPTION_BOOL)
			return at[1] ? option_set(p, d, name, at + 1) : take_next(p, d, name);
		r = option_set(p, d, name, "true");
		if (r < 0)
			return r;
	}
	return 0;
}

bool option_takes_next(const struct option_def *defs, const char *arg)
{
	const struct option_def *d;

	if (arg[0] != '-')
		return false;
	if (arg[1] == '-') {
		d = find_long(defs, arg + 2, strlen(arg + 2));
		return d && d->type != OPTION_BOOL;
	}
	for (arg++; *arg && (d = find_short(defs, *arg)) && arg[1] != '='; arg++)
		if (d->type != OPTION_BOOL)
			return !arg[1];
	return false;
}

/* NOLINTNEXTLINE(readability-function-size) */
int option_parse(const struct option_def *defs, void *into, int argc, char **argv, int *ret_rest,
		 char *err, size_t err_size)
{
	struct parser p = {.defs = defs,
			   .into = into,
			   .argv = argv,
			   .argc = argc,
			   .at = 1,
			   .err = err,
			   .err_size = err_size};
	int r = set_defaults(&p);

	for (; r == 0 && p.at < argc; p.at++) {
		const char *arg = argv[p.at];

		if (streq(arg, "--")) {
			p.at++;
			break;
		}
		if (arg[0] != '-' || !arg[1])
			break;
		r = arg[1] == '-' ? parse_long(&p) : parse_short(&p);
	}
	if (r < 0)
		return r;
	*ret_rest = p.at;
	return 0;
}

/* print_wrapped() - words of @s in the columns right of @indent. */
static void print_wrapped(const char *s, size_t indent)
{
	size_t room = HELP_COLUMNS - indent;
	size_t at = 0;

	while (*s) {
		size_t n = strcspn(s, " ");

		if (at > 0 && at + 1 + n > room) {
			printf("\n%*s", (int)indent, "");
			at = 0;
		}
		printf("%s%.*s", at > 0 ? " " : "", (int)n, s);
		at += n + (at > 0);
		s += n;
		s += strspn(s, " ");
	}
	putchar('\n');
}

static void print_option(const struct option_def *d)
{
	_cleanup_(freep) char *left = NULL;
	_cleanup_(freep) char *text = NULL;
	char short_name[] = {'-', d->short_name, ',', ' ', '\0'};
	bool has_value = d->type != OPTION_BOOL;
	const char *value = d->value_name ? d->value_name : "VALUE";

	left = str_format("  %s--%s%s%s", d->short_name ? short_name : "    ", d->name,
			  has_value ? " " : "", has_value ? value : "");
	text = str_format("%s%s%s%s%s%s%s", d->help, d->default_value ? " (default " : "",
			  d->default_value ? d->default_value : "", d->default_value ? ")" : "",
			  d->env ? " [$" : "", d->env ? d->env : "", d->env ? "]" : "");
	if (!left || !text)
		return;
	if (strlen(left) >= HELP_INDENT)
		printf("%s\n%*s", left, HELP_INDENT, "");
	else
		printf("%-*s", HELP_INDENT, left);
	print_wrapped(text, HELP_INDENT);
}

void option_help(const struct option_def *defs, const char *usage, const char *what)
{
	printf("Usage: %s\n\n", usage);
	print_wrapped(what, 0);
	puts("\nOptions:");
	for (const struct option_def *d = defs; d->name; d++)
		print_option(d);
	printf("  -h, %-*s%s\n", HELP_INDENT - 6, "--help", "this text");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

json_int_t json_number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

json_t *json_find(const json_t *array, const char *key, const char *value)
{
	json_t *one;
	size_t i;

	json_array_foreach (array, i, one)
		if (streq(json_text(one, key, ""), value))
			return one;
	return NULL;
}

json_t *json_find_named(const json_t *array, const char *ns, const char *name)
{
	json_t *one;
	size_t i;

	json_array_foreach (array, i, one)
		if (streq(json_text(one, "name", ""), name) &&
		    streq(json_text(one, "namespace", ""), ns))
			return one;
	return NULL;
}

char *json_join(const json_t *array, const char *sep)
{
	_cleanup_(buf_resetp) struct buf b = {0};
	const json_t *v;
	size_t i;

	json_array_foreach (array, i, v) {
		const char *s = json_string_value(v);

		if (!s)
			continue;
		if (buf_printf(&b, "%s%s", buf_len(&b) > 0 ? sep : "", s) < 0)
			return NULL;
	}
	if (buf_append(&b, "", 1) < 0)
		return NULL;
	return (char *)TAKE_PTR(b.data);
}

/* is_plain() - true when YAML reads the bare word back as this string. */
static bool is_plain(const char *s)
{
	static const char *const words[] = {"true", "false", "null", "yes", "no",
					    "on",   "off",   "y",    "n"};

	if (!isalpha((unsigned char)*s) && *s != '/')
		return false;
	for (const char *p = s; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_./", *p))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(words[i], s) == 0)
			return false;
	return true;
}

static void print_scalar(const json_t *v, FILE *f)
{
	const char *s = json_string_value(v);

	if (s && is_plain(s))
		(void)fputs(s, f);
	else
		(void)json_dumpf(v, f, JSON_ENCODE_ANY | JSON_COMPACT); /* JSON is YAML */
}

static bool is_block(const json_t *v)
{
	return json_object_size(v) > 0 || json_array_size(v) > 0;
}

static void print_block(const json_t *v, int indent, bool is_first_inline, FILE *f);

/* print_value() - what follows "key:" or "-"; an object in a list starts on the line of its dash.
 */
static void print_value(const json_t *v, int indent, bool is_in_list, FILE *f)
{
	if (!is_block(v)) {
		(void)fputc(' ', f);
		print_scalar(v, f);
		(void)fputc('\n', f);
		return;
	}
	(void)fputc(is_in_list ? ' ' : '\n', f);
	print_block(v, indent, is_in_list, f);
}

static void print_block(const json_t *v, int indent, bool is_first_inline, FILE *f)
{
	const json_t *child;
	const char *key;
	size_t i;

	json_array_foreach (v, i, child) {
		(void)fprintf(f, "%*s-", i == 0 && is_first_inline ? 0 : indent, "");
		print_value(child, indent + 2, true, f);
	}
	json_object_foreach ((json_t *)v, key, child) {
		(void)fprintf(f, "%*s", is_first_inline ? 0 : indent, "");
		is_first_inline = false;
		if (is_plain(key))
			(void)fprintf(f, "%s:", key);
		else
			(void)fprintf(f, "\"%s\":", key);
		print_value(child, json_is_array(child) ? indent : indent + 2, false, f);
	}
}

void json_print_yaml(const json_t *v, FILE *f)
{
	if (is_block(v)) {
		print_block(v, 0, false, f);
		return;
	}
	print_scalar(v, f);
	(void)fputc('\n', f);
}

void json_print(const json_t *v, const char *format)
{
	if (streq(format, "yaml")) {
		json_print_yaml(v, stdout);
		return;
	}
	(void)json_dumpf(v, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

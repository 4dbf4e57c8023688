/* SPDX-License-Identifier: Apache-2.0 */
/* chart_render - the part of Go's template language that the chart keeps to. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "chart.h"
#include "json.h"

#define NESTING_MAX 8
#define ACTION_MAX  256
#define REAL_DIGITS 15
#define SPACE       " \t\r\n"
#define IS_TEXT     "kindIs \"string\" "
#define NAMED       " | default \"default\" | ne \"default\""

/* An open `if`, or `range`, which is written while there are elements. */
struct block {
	bool is_written; /* its present branch */
	bool was_true;
	bool has_else;
	const char *body;   /* of a range; NULL: it is an `if` */
	const json_t *list; /* its elements */
	size_t index;       /* of the present one */
};

/* One text on its way. */
struct render {
	const char *name;
	const char *text;
	const char *at;   /* the present action, for the line */
	const char *from; /* what follows it */
	const json_t *values;
	struct buf *out;
	char *err;
	struct block blocks[NESTING_MAX];
	unsigned int depth;
};

static int fail(const struct render *r, const char *what, const char *detail)
{
	unsigned int line = 1;

	for (const char *p = r->text; p < r->at; p++)
		line += *p == '\n';
	(void)snprintf(r->err, CHART_ERROR_MAX, "%s:%u: %s%s%s", r->name, line, what,
		       *detail ? ": " : "", detail);
	return -EINVAL;
}

static bool is_written(const struct render *r)
{
	for (unsigned int i = 0; i < r->depth; i++)
		if (!r->blocks[i].is_written)
			return false;
	return true;
}

/* is_true() - as Go has it: empty things are false. */
static bool is_true(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return json_object_size(v) > 0;
	case JSON_ARRAY:
		return json_array_size(v) > 0;
	case JSON_STRING:
		return json_string_length(v) > 0;
	case JSON_INTEGER:
		return json_integer_value(v) != 0;
	case JSON_REAL:
		return json_real_value(v) < 0 || json_real_value(v) > 0;
	case JSON_TRUE:
		return true;
	case JSON_FALSE:
	case JSON_NULL:
		break;
	}
	return false;
}

/* element() - ".": of the innermost range; null in one without any. NULL, told: there is none. */
static const json_t *element(const struct render *r)
{
	for (unsigned int i = r->depth; i > 0; i--) {
		const struct block *b = &r->blocks[i - 1];

		if (b->body)
			return b->was_true ? json_array_get(b->list, b->index) : json_null();
	}
	(void)fail(r, "outside of a range", ".");
	return NULL;
}

/* lookup() - ".", or ".Values.a.b", which is cut up. NULL, told: no such thing. */
static const json_t *lookup(const struct render *r, char *path)
{
	const json_t *v = r->values;
	char *save = NULL;

	if (streq(path, "."))
		return element(r);
	if (!str_has_prefix(path, ".Values.")) {
		(void)fail(r, "expected .Values.NAME", path);
		return NULL;
	}
	for (char *key = strtok_r(path + strlen(".Values."), ".", &save); key && v;
	     key = strtok_r(NULL, ".", &save)) {
		v = json_object_get(v, key);
		if (!v)
			(void)fail(r, "no such value", key);
	}
	return v;
}

/* to_json() - 0.1 as Go has it, not as 0.10000000000000001. */
static char *to_json(const json_t *v)
{
	return json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS |
				     JSON_REAL_PRECISION(REAL_DIGITS));
}

/* without_nulls() - a map without the keys that are null: with null, Helm's users take away what
 * the chart has there. Return: new reference; all else as it is. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as YAML_DEPTH_MAX */
static json_t *without_nulls(const json_t *v)
{
	json_t *copy, *child;
	const char *key;

	if (!json_is_object(v))
		return json_incref((json_t *)(uintptr_t)v);
	copy = json_object();
	json_object_foreach ((json_t *)(uintptr_t)v, key, child)
		if (!json_is_null(child) &&
		    json_object_set_new(copy, key, without_nulls(child)) < 0) {
			json_decref(copy);
			return NULL;
		}
	return copy;
}

/* to_text() - as Go prints it; what Go would print in a way of its own needs toJson. */
static char *to_text(const struct render *r, const json_t *v)
{
	if (json_is_string(v))
		return str_format("%s", json_string_value(v));
	if (json_is_integer(v) || json_is_boolean(v))
		return to_json(v);
	(void)fail(r, "a list, map or null needs | toJson", "");
	return NULL;
}

/* print_value() - ".Values.a.b | toJson | toJson" */
static int print_value(const struct render *r, char *action)
{
	_cleanup_(json_decrefp) json_t *whole = NULL;
	_cleanup_(freep) char *text = NULL;
	char *save = NULL, *path = strtok_r(action, SPACE, &save);
	const json_t *v = lookup(r, path);
	unsigned int filters = 0;

	if (!v)
		return -EINVAL;
	for (char *word = strtok_r(NULL, SPACE, &save); word; word = strtok_r(NULL, SPACE, &save)) {
		const char *next = strtok_r(NULL, SPACE, &save);

		if (!streq(word, "|") || !next || !streq(next, "toJson"))
			return fail(r, "expected | toJson", word);
		filters++;
	}
	if (!is_written(r))
		return 0;
	whole = without_nulls(v);
	text = filters > 0 ? to_json(whole) : to_text(r, v);
	for (; filters > 1 && text; filters--) {
		json_t *again = json_string(text);
		char *longer = again ? to_json(again) : NULL;

		json_decref(again);
		free(text);
		text = longer;
	}
	if (!text)
		return -EINVAL;
	return buf_append_str(r->out, text);
}

static int open_block(struct render *r, struct block block)
{
	if (r->depth == NESTING_MAX)
		return fail(r, "if inside if, too deep", "");
	block.is_written = block.was_true;
	r->blocks[r->depth++] = block;
	return 0;
}

/* open_if() - ".Values.a.b", or that with NAMED: then it is true of what is neither empty nor
 * "default"; or a path after IS_TEXT: true of text. */
static int open_if(struct render *r, char *path)
{
	char *named = strstr(path, NAMED);
	bool is_named = named && streq(named, NAMED), is_about_text = str_has_prefix(path, IS_TEXT);
	const json_t *v;

	if (is_named)
		*named = '\0';
	v = lookup(r, path + (is_about_text ? strlen(IS_TEXT) : 0));
	if (!v)
		return -EINVAL;
	if (is_about_text)
		return open_block(r, (struct block){.was_true = json_is_string(v)});
	if (is_named && !json_is_string(v))
		return fail(r, "expected a text", path);
	return open_block(r, (struct block){.was_true = is_true(v) &&
							!(is_named &&
							  streq(json_string_value(v), "default"))});
}

static int open_range(struct render *r, char *path)
{
	const json_t *list = lookup(r, path);

	if (!list)
		return -EINVAL;
	if (!json_is_array(list) && !json_is_null(list))
		return fail(r, "expected a list", path);
	return open_block(r,
			  (struct block){.was_true = is_true(list), .body = r->from, .list = list});
}

/* end_block() - go on behind it, or once more through it with the next element. */
static void end_block(struct render *r)
{
	struct block *b = &r->blocks[r->depth - 1];

	if (b->body && b->was_true && ++b->index < json_array_size(b->list))
		r->from = b->body;
	else
		r->depth--;
}

static int run_action(struct render *r, char *action)
{
	struct block *b = r->depth > 0 ? &r->blocks[r->depth - 1] : NULL;
	size_t n;

	action += strspn(action, SPACE);
	for (n = strlen(action); n > 0 && strchr(SPACE, action[n - 1]); n--)
		action[n - 1] = '\0';
	if (str_has_prefix(action, "if "))
		return open_if(r, action + strlen("if "));
	if (str_has_prefix(action, "range "))
		return open_range(r, action + strlen("range "));
	if (streq(action, "else") && b && !b->has_else && !b->body) {
		b->has_else = true;
		b->is_written = !b->was_true;
		return 0;
	}
	if (streq(action, "end") && b) {
		end_block(r);
		return 0;
	}
	if (*action != '.')
		return fail(r, "not in the part of the language that is read here", action);
	return print_value(r, action);
}

/* print_text() - what stands between two actions. */
static int print_text(const struct render *r, const char *from, size_t n, bool is_trimmed)
{
	while (is_trimmed && n > 0 && strchr(SPACE, from[n - 1]))
		n--;
	return is_written(r) && n > 0 ? buf_append(r->out, from, n) : 0;
}

int chart_render(const char *name, const char *text, const json_t *values, struct buf *out,
		 char err[CHART_ERROR_MAX])
{
	struct render r = {.name = name, .text = text, .values = values, .out = out, .err = err};
	char action[ACTION_MAX];
	int e;

	r.from = text;
	for (const char *at = strstr(text, "{{"); at; at = strstr(r.from, "{{")) {
		bool is_trimmed = at[2] == '-';
		const char *end = strstr(at, "}}");
		const char *inside = at + 2 + is_trimmed;

		r.at = at;
		e = print_text(&r, r.from, (size_t)(at - r.from), is_trimmed);
		if (e < 0)
			return e;
		if (!end || end < inside || (size_t)(end - inside) >= sizeof(action))
			return fail(&r, "an action without end", "");
		memcpy(action, inside, (size_t)(end - inside));
		action[end - inside] = '\0';
		r.from = end + 2;
		e = run_action(&r, action);
		if (e < 0)
			return e;
	}
	r.at = r.from;
	if (r.depth > 0)
		return fail(&r, "an if without end", "");
	return print_text(&r, r.from, strlen(r.from), false);
}

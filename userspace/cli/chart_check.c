/* SPDX-License-Identifier: Apache-2.0 */
/* chart_check - values against the schema, and one value by its path. */
#include <errno.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "chart.h"
#include "cli.h"
#include "json.h"

#define PATH_MAX_BYTES 256
#define KEYS_MAX       64
#define INDEX_MAX      64

/* One tree on its way: how many nodes were before, for the line. */
struct check {
	const struct chart_lines *lines;
	size_t at;
	char *err;
};

static int fail(const struct check *c, const char *path, const char *what, const char *detail)
{
	char where[PATH_MAX_BYTES] = "";

	if (c->lines && c->at < c->lines->count)
		(void)snprintf(where, sizeof(where), "%s:%u: ", c->lines->file,
			       c->lines->lines[c->at]);
	(void)snprintf(c->err, CHART_ERROR_MAX, "%s%s: %s%s", where, *path ? path : "(all of it)",
		       what, detail);
	return -EINVAL;
}

static const char *type_name(const json_t *v)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "object",   [JSON_ARRAY] = "array", [JSON_STRING] = "string",
		[JSON_INTEGER] = "integer", [JSON_REAL] = "number", [JSON_TRUE] = "boolean",
		[JSON_FALSE] = "boolean",   [JSON_NULL] = "null",
	};

	return names[json_typeof(v)];
}

/* has_type() - "type" is a word or a list of words; absent: anything. */
static bool has_type(const json_t *schema, const char *name)
{
	const json_t *type = json_object_get(schema, "type");

	return !type || json_has_text(type, name) ||
	       (json_is_string(type) && streq(json_string_value(type), name));
}

static const char *nearest(const json_t *known, const char *key)
{
	struct cli_command table[KEYS_MAX + 1] = {0};
	const char *name;
	json_t *v;
	size_t n = 0;

	json_object_foreach ((json_t *)(uintptr_t)known, name, v)
		if (n < KEYS_MAX)
			table[n++].name = name;
	return cli_nearest(table, key);
}

/* unknown() - @key isn't in @schema: is something near, or is it one of Helm's values? */
static int unknown(const struct check *c, const json_t *schema, const char *path, const char *key)
{
	const json_t *known = json_object_get(schema, "properties");
	const json_t *values = json_object_get(json_object_get(known, "values"), "properties");
	const char *near = nearest(known, key);
	_cleanup_(freep) char *list = NULL;
	_cleanup_(json_decrefp) json_t *keys = json_array();
	char hint[PATH_MAX_BYTES];
	const char *name;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)known, name, v)
		(void)json_array_append_new(keys, json_string(name));
	list = json_join(keys, ", ");
	if (near)
		(void)snprintf(hint, sizeof(hint), "is \"%s\" meant?", near);
	else if (json_object_get(values, key))
		(void)snprintf(hint, sizeof(hint), "is \"values.%s\" meant?", key);
	else
		(void)snprintf(hint, sizeof(hint), "known are %s", list ? list : "");
	return fail(c, path, "no such key; ", hint);
}

/* matches() - Return: 1; 0; -EINVAL a bad pattern. */
static int matches(const char *pattern, const char *text)
{
	regex_t regex;
	int r;

	if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return -EINVAL;
	r = regexec(&regex, text, 0, NULL, 0);
	regfree(&regex);
	return r == 0;
}

/* is_foreign() - a key that is not one of @schema's, where others are taken. */
static bool is_foreign(const json_t *schema, const char *key)
{
	return json_object_get(schema, "propertyNames") &&
	       !json_object_get(json_object_get(schema, "properties"), key);
}

/* is_unknown() - a key that @schema refuses: others than its own are taken only by their names. */
static bool is_unknown(const json_t *schema, const char *key)
{
	const json_t *any = json_object_get(json_object_get(schema, "propertyNames"), "anyOf");
	const json_t *one;
	size_t i;

	if (json_object_get(json_object_get(schema, "properties"), key))
		return false;
	json_array_foreach (any, i, one) {
		const char *not = json_text(json_object_get(one, "not"), "pattern", NULL);

		if (json_has_text(json_object_get(one, "enum"), key) ||
		    (not &&matches(not, key) == 0))
			return false;
	}
	return any || json_is_false(json_object_get(schema, "additionalProperties"));
}

static const json_t *child_schema(const json_t *schema, const char *key)
{
	const json_t *s = json_object_get(json_object_get(schema, "properties"), key);

	return s ? s : json_object_get(schema, "additionalProperties");
}

static int check_string(const struct check *c, const json_t *schema, const char *path,
			const json_t *v)
{
	const char *pattern = json_string_value(json_object_get(schema, "pattern"));
	const json_t *limit = json_object_get(schema, "maxLength");
	int r;

	if (strlen(json_string_value(v)) != json_string_length(v))
		return fail(c, path, "has a NUL inside", "");
	if (limit && json_string_length(v) > (size_t)json_integer_value(limit))
		return fail(c, path, "is too long: ", json_string_value(v));
	if (!pattern)
		return 0;
	r = matches(pattern, json_string_value(v));
	if (r < 0)
		return fail(c, path, "the schema has a bad pattern: ", pattern);
	return r ? 0 : fail(c, path, "does not match ", pattern);
}

static int check_scalar(const struct check *c, const json_t *schema, const char *path,
			const json_t *v)
{
	const json_t *list = json_object_get(schema, "enum"), *one;
	const json_t *min = json_object_get(schema, "minimum");
	const json_t *max = json_object_get(schema, "maximum");
	_cleanup_(freep) char *expected = NULL;
	double n = json_number_value(v);
	size_t i;

	if (json_is_number(v) && min && max &&
	    (n < json_number_value(min) || n > json_number_value(max))) {
		expected = str_format("%lld to %lld", (long long)json_integer_value(min),
				      (long long)json_integer_value(max));
		return fail(c, path, "expected ", expected ? expected : "less");
	}
	json_array_foreach (list, i, one)
		if (json_equal(one, v))
			return 0;
	expected = list ? json_dumps(list, JSON_ENCODE_ANY) : NULL;
	if (list)
		return fail(c, path, "expected one of ", expected ? expected : "");
	return json_is_string(v) ? check_string(c, schema, path, v) : 0;
}

static int check_node(struct check *c, const json_t *schema, const json_t *v, const char *path);

static int check_object(struct check *c, const json_t *schema, const json_t *v, const char *path)
{
	const char *key;
	json_t *child;

	json_object_foreach ((json_t *)(uintptr_t)v, key, child) {
		char longer[PATH_MAX_BYTES];
		int r;

		(void)snprintf(longer, sizeof(longer), "%s%s%s", path, *path ? "." : "", key);
		c->at++;
		if (is_unknown(schema, key))
			return unknown(c, schema, longer, key);
		r = check_node(c, child_schema(schema, key), child, longer);
		if (r < 0)
			return r;
	}
	return 0;
}

/* check_node() - c->at is the number of @v in pre-order; of its last node, when it returns. A NULL
 * @schema wants nothing, but the nodes count. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as YAML_DEPTH_MAX */
static int check_node(struct check *c, const json_t *schema, const json_t *v, const char *path)
{
	json_t *child;
	size_t i;
	int r = 0;

	if (!has_type(schema, type_name(v))) {
		_cleanup_(freep) char *type =
			json_dumps(json_object_get(schema, "type"), JSON_ENCODE_ANY);
		char what[64];

		(void)snprintf(what, sizeof(what), "is of type %s, expected ", type_name(v));
		return fail(c, path, what, type ? type : "another");
	}
	if (json_is_object(v))
		return check_object(c, schema, v, path);
	if (!json_is_array(v))
		return check_scalar(c, schema, path, v);
	json_array_foreach (v, i, child) {
		c->at++;
		r = check_node(c, json_object_get(schema, "items"), child, path);
		if (r < 0)
			return r;
	}
	return 0;
}

int chart_check(const json_t *schema, const json_t *v, const struct chart_lines *lines,
		char err[CHART_ERROR_MAX])
{
	struct check c = {.lines = lines, .err = err};

	return check_node(&c, schema, v, "");
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as YAML_DEPTH_MAX */
static void foreign_in(const json_t *schema, const json_t *v, const char *path, FILE *f)
{
	const char *key;
	json_t *child;

	json_object_foreach ((json_t *)(uintptr_t)v, key, child) {
		char longer[PATH_MAX_BYTES];

		(void)snprintf(longer, sizeof(longer), "%s.%s", path, key);
		if (is_foreign(schema, key))
			(void)fprintf(f, "culvert: %s: not one of Culvert's: it has no effect\n",
				      longer);
		else
			foreign_in(child_schema(schema, key), child, longer, f);
	}
}

void chart_say_foreign(const json_t *values, FILE *f)
{
	_cleanup_(json_decrefp) json_t *schema = chart_schema();

	foreign_in(schema, values, "values", f);
}

/* next_key() - cut the first key off @at; "\." is a dot. Return: what follows: '.', '[' or 0. */
static char next_key(char **at, char *ret_key, size_t size)
{
	char *p = *at, stop;
	size_t n = 0;

	for (; *p && *p != '.' && *p != '['; p++) {
		if (*p == '\\' && p[1] == '.')
			p++;
		if (n + 1 < size)
			ret_key[n++] = *p;
	}
	ret_key[n] = '\0';
	stop = *p;
	*at = p + (stop != '\0');
	return stop;
}

/* step_into() - the child at @key, made when it is missing; @v is put there when it isn't NULL. */
static json_t *step_into(json_t *parent, const char *key, json_t *v)
{
	json_t *child = json_object_get(parent, key);

	if (v || !child) {
		child = v ? v : json_object();
		if (json_object_set_new(parent, key, child) < 0)
			return NULL;
	}
	return child;
}

static int read_yaml(const char *path, const char *text, json_t **ret, char *err)
{
	/* a document cannot be a word alone */
	_cleanup_(freep) char *wrapped = str_format("- %s\n", text);
	_cleanup_(json_decrefp) json_t *list = NULL;
	int r = wrapped ? chart_yaml(path, wrapped, NULL, &list, err) : -ENOMEM;

	if (r == 0 && json_array_size(list) != 1) {
		(void)snprintf(err, CHART_ERROR_MAX, "%s: expected one value", path);
		r = -EINVAL;
	}
	if (r == 0)
		*ret = json_incref(json_array_get(list, 0));
	return r;
}

/* read_list() - "{a,b}" as istioctl's and Helm's --set have a list, where YAML has a map of keys
 * without values. Return: new reference; NULL: it is something else. */
static json_t *read_list(const char *path, const char *text)
{
	_cleanup_(freep) char *inside = str_format("[%s", text + (*text == '{'));
	_cleanup_(json_decrefp) json_t *list = NULL;
	size_t n = strlen(text), i;
	char err[CHART_ERROR_MAX];
	const json_t *one;

	if (n < 3 || *text != '{' || text[n - 1] != '}' || !inside)
		return NULL;
	inside[n - 1] = ']';
	if (read_yaml(path, inside, &list, err) < 0)
		return NULL;
	json_array_foreach (list, i, one) /* a map, which has "key: value" */
		if (json_is_object(one))
			return NULL;
	return TAKE_PTR(list);
}

/* read_value() - text where the schema wants text and nothing else, YAML otherwise. */
static int read_value(const char *path, const char *text, const json_t *schema, json_t **ret,
		      char *err)
{
	bool is_text = json_object_get(schema, "type") && has_type(schema, "string") &&
		       !json_is_array(json_object_get(schema, "type"));

	if (is_text || !*text) { /* nothing is empty text, as Helm has it, not null */
		*ret = json_string(text);
		if (!*ret)
			(void)snprintf(err, CHART_ERROR_MAX, "%s: not UTF-8", path);
		return *ret ? 0 : -EINVAL;
	}
	*ret = read_list(path, text);
	return *ret ? 0 : read_yaml(path, text, ret, err);
}

/* A path on its way: what is left of it, and of it all for messages. */
struct setter {
	const char *path; /* whole */
	char *at;
	const char *text;
	char *err;
	json_t *list; /* whose element the value is to be; NULL: a map's */
	size_t index;
};

static int bad_path(const struct setter *s, const char *what)
{
	(void)snprintf(s->err, CHART_ERROR_MAX, "%s: %s", s->path, what);
	return -EINVAL;
}

/* take_index() - "0]" and what follows. Return: whether there is such an element of @list now. */
static bool take_index(struct setter *s, json_t *list, size_t *ret)
{
	char *end;
	unsigned long i = strtoul(s->at, &end, 10);

	if (end == s->at || *end != ']' || i >= INDEX_MAX || !json_is_array(list))
		return false;
	s->at = end + 1;
	while (json_array_size(list) <= i)
		if (json_array_append_new(list, *s->at == '.' ? json_object() : json_null()) < 0)
			return false;
	*ret = i;
	return true;
}

/* take_element() - "a[0].b": the map that b is in; the schema's "items" says what b may be. "a[0]"
 * alone: the list, and the value's place is noted. Return: NULL: it is neither. */
static json_t *take_element(struct setter *s, json_t *parent, const char *key)
{
	json_t *list = json_object_get(parent, key);
	size_t i;

	if (!take_index(s, list ? list : step_into(parent, key, json_array()), &i))
		return NULL;
	list = json_object_get(parent, key);
	if (*s->at == '\0') {
		s->list = list;
		s->index = i;
		return list;
	}
	if (*s->at != '.')
		return NULL;
	s->at++;
	return json_array_get(list, i);
}

/* put() - the value where the path has led to. */
static int put(struct setter *s, json_t *node, const char *key, json_t *v)
{
	if (s->list)
		return json_array_set_new(s->list, s->index, v) < 0 ? -ENOMEM : 0;
	return step_into(node, key, v) ? 0 : -ENOMEM;
}

int chart_set(json_t *root, const json_t *schema, const char *assignment, char err[CHART_ERROR_MAX])
{
	_cleanup_(freep) char *path = str_format("%s", assignment);
	_cleanup_(freep) char *left = str_format("%s", assignment);
	size_t n = strcspn(assignment, "=");
	struct setter s = {.path = path, .at = left, .text = assignment + n + 1, .err = err};
	struct check c = {.err = err};
	char key[PATH_MAX_BYTES], stop;
	json_t *v = NULL, *node = root;
	int r;

	if (!path || !left)
		return -ENOMEM;
	if (!assignment[n] || n == 0)
		return bad_path(&s, "expected KEY=VALUE");
	path[n] = left[n] = '\0';
	do {
		stop = next_key(&s.at, key, sizeof(key));
		if (!*key || !json_is_object(node))
			return bad_path(&s, "expected KEY.KEY=VALUE");
		if (is_unknown(schema, key))
			return unknown(&c, schema, path, key);
		schema = child_schema(schema, key);
		if (stop == '[') {
			node = take_element(&s, node, key);
			schema = json_object_get(schema, "items");
		} else if (stop == '.') {
			node = step_into(node, key, NULL);
		}
		if (!node)
			return bad_path(&s, "expected KEY[NUMBER]=VALUE or "
					    "KEY[NUMBER].KEY=VALUE");
	} while (stop != '\0' && !s.list);
	r = read_value(path, s.text, schema, &v, err);
	return r < 0 ? r : put(&s, node, key, v);
}

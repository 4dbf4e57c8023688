/* SPDX-License-Identifier: Apache-2.0 */
#include "source/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "source/kube_json.h"

/* One object cannot flood the log. */
#define PROBLEMS_MAX 16
#define MESSAGE_MAX  512

static size_t path_append(struct schema_report *r, const char *fmt, ...) _printf_(2, 3);
static size_t path_append(struct schema_report *r, const char *fmt, ...)
{
	size_t mark = r->len, room = sizeof(r->path) - r->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->path + r->len, room, fmt, ap);
	va_end(ap);
	r->len += MIN((size_t)MAX(n, 0), room - 1);
	return mark;
}

size_t schema_enter(struct schema_report *r, const char *key)
{
	if (strpbrk(key, ".[]") || !*key)
		return path_append(r, "[%s]", key);
	return path_append(r, "%s%s", r->len ? "." : "", key);
}

size_t schema_enter_index(struct schema_report *r, size_t index)
{
	return path_append(r, "[%zu]", index);
}

void schema_leave(struct schema_report *r, size_t mark)
{
	r->len = mark;
	r->path[mark] = '\0';
}

void schema_problem(struct schema_report *r, const char *fmt, ...)
{
	char message[MESSAGE_MAX];
	va_list ap;

	if (r->count++ >= PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	(void)str_vprint(message, sizeof(message), fmt, ap);
	va_end(ap);
	/* cut, where it is very long */
	r->on_problem(r->arg, str_utf8(r->path), message);
}

static const char *type_expected(const struct schema *s)
{
	static const char *const names[] = {
		[SCHEMA_ANY] = "anything",
		[SCHEMA_STRING] = "a string",
		[SCHEMA_BOOL] = "true or false",
		[SCHEMA_INT] = "an integer",
		[SCHEMA_NUMBER] = "a number",
		[SCHEMA_PORT_REF] = "a port number or a port's name",
		[SCHEMA_OBJECT] = "a mapping",
		[SCHEMA_LIST] = "a list",
		[SCHEMA_MAP] = "a mapping",
	};

	return s->expected ? s->expected : names[s->type];
}

/* A value as its writer would recognise it, in few characters. */
static const char *value_describe(const json_t *v, char *buf, size_t size)
{
	switch (json_typeof(v)) {
	case JSON_STRING:
		(void)snprintf(buf, size, "\"%.60s\"", json_string_value(v));
		break;
	case JSON_INTEGER:
		(void)snprintf(buf, size, "the number %lld", (long long)json_integer_value(v));
		break;
	case JSON_REAL:
		(void)snprintf(buf, size, "the number %g", json_real_value(v));
		break;
	case JSON_OBJECT:
		(void)snprintf(buf, size, "a mapping");
		break;
	case JSON_ARRAY:
		(void)snprintf(buf, size, "a list");
		break;
	case JSON_NULL:
		(void)snprintf(buf, size, "nothing");
		break;
	default:
		(void)snprintf(buf, size, "%s", json_is_true(v) ? "true" : "false");
	}
	return buf;
}

static void problem_expected(struct schema_report *r, const char *expected, const json_t *v)
{
	char got[96];

	schema_problem(r, "expected %s, got %s%s", expected, value_describe(v, got, sizeof(got)),
		       strstr(expected, "string") && json_is_number(v) ? " (put it in quotes)"
								       : "");
}

static void problem_words(const struct schema *s, const json_t *v, struct schema_report *r)
{
	char list[256] = "", got[96];
	size_t n = 0;

	for (const char *const *w = s->words; *w && n < sizeof(list); w++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", w == s->words ? "" : ", ",
				      *w);
	schema_problem(r, "expected one of %s, got %s", list, value_describe(v, got, sizeof(got)));
}

/* Whatever the schema takes besides. Return: was there one, and is it reported? */
static bool nul_report(const char *text, const char *what, struct schema_report *r)
{
	if (!text || !strstr(text, KUBE_JSON_NUL))
		return false;
	schema_problem(r, "%s has a NUL character", what);
	return true;
}

static void walk_string(const struct schema *s, const json_t *v, struct schema_report *r)
{
	const char *text = json_string_value(v);

	if (nul_report(text, "the string", r))
		return;
	if (!text || (s->is_nonempty && !*text) || (s->is_valid && !s->is_valid(text))) {
		problem_expected(r, type_expected(s), v);
		return;
	}
	if (!s->words)
		return;
	for (const char *const *w = s->words; *w; w++)
		if (streq(*w, text))
			return;
	problem_words(s, v, r);
}

static void walk_int(const struct schema *s, const json_t *v, struct schema_report *r)
{
	long long i = json_integer_value(v);
	char expected[96];

	if (!json_is_integer(v)) {
		problem_expected(r, type_expected(s), v);
		return;
	}
	if ((s->min == 0 && s->max == 0) || (i >= s->min && i <= s->max))
		return;
	(void)snprintf(expected, sizeof(expected), "an integer from %lld to %lld", s->min, s->max);
	problem_expected(r, expected, v);
}

static void walk_port_ref(const json_t *v, struct schema_report *r)
{
	long long i = json_integer_value(v);

	if (json_is_integer(v) ? i < 1 || i > 65535
			       : !json_is_string(v) || !word_is_port_name(json_string_value(v)))
		problem_expected(r, "a port number from 1 to 65535 or a port's name", v);
}

static const struct schema_field *field_find(const struct schema *s, const char *name)
{
	for (const struct schema_field *f = s->fields; f && f->name; f++)
		if (streq(f->name, name))
			return f;
	return NULL;
}

static void walk_fields(const struct schema *s, const json_t *v, struct schema_report *r)
{
	const char *key;
	json_t *child;

	json_object_foreach ((json_t *)v, key, child) {
		const struct schema_field *f = field_find(s, key);
		size_t mark = schema_enter(r, key);

		if (f)
			schema_walk(f->schema, child, r);
		else if (!s->is_open && !r->is_lenient)
			schema_problem(r, "unknown field");
		schema_leave(r, mark);
	}
}

static void walk_object(const struct schema *s, const json_t *v, struct schema_report *r)
{
	if (!json_is_object(v)) {
		problem_expected(r, type_expected(s), v);
		return;
	}
	for (const struct schema_field *f = s->fields; f && f->name; f++) {
		const json_t *child = json_object_get(v, f->name);
		size_t mark;

		if (!f->is_required || (child && !json_is_null(child)))
			continue;
		mark = schema_enter(r, f->name);
		schema_problem(r, "required: expected %s", type_expected(f->schema));
		schema_leave(r, mark);
	}
	walk_fields(s, v, r);
}

static void walk_list(const struct schema *s, const json_t *v, struct schema_report *r)
{
	json_t *child;
	size_t i;

	if (!json_is_array(v)) {
		problem_expected(r, type_expected(s), v);
		return;
	}
	if (s->is_nonempty && json_array_size(v) == 0)
		schema_problem(
			r, "expected at least one element; leave the field out if there is none");
	json_array_foreach (v, i, child) {
		size_t mark = schema_enter_index(r, i);

		if (json_is_null(child))
			problem_expected(r, s->item ? type_expected(s->item) : "a value", child);
		else if (s->item)
			schema_walk(s->item, child, r);
		schema_leave(r, mark);
	}
}

static void walk_map(const struct schema *s, const json_t *v, struct schema_report *r)
{
	const char *key;
	json_t *child;

	if (!json_is_object(v)) {
		problem_expected(r, type_expected(s), v);
		return;
	}
	json_object_foreach ((json_t *)v, key, child) {
		size_t mark = schema_enter(r, key);

		if (!nul_report(key, "the key", r) && s->is_key && !s->is_key(key))
			schema_problem(r, "expected %s as key", s->key_expected);
		if (json_is_null(child) && s->item)
			problem_expected(r, type_expected(s->item), child);
		else if (s->item)
			schema_walk(s->item, child, r);
		schema_leave(r, mark);
	}
}

void schema_walk(const struct schema *s, const json_t *v, struct schema_report *r)
{
	/* Kubernetes reads "field:" with nothing behind it as a field that is not there. */
	if (s->type == SCHEMA_ANY || json_is_null(v))
		return;
	switch (s->type) {
	case SCHEMA_STRING:
		walk_string(s, v, r);
		break;
	case SCHEMA_BOOL:
		if (!json_is_boolean(v))
			problem_expected(r, type_expected(s), v);
		break;
	case SCHEMA_INT:
		walk_int(s, v, r);
		break;
	case SCHEMA_NUMBER:
		if (!json_is_number(v))
			problem_expected(r, type_expected(s), v);
		break;
	case SCHEMA_PORT_REF:
		walk_port_ref(v, r);
		break;
	case SCHEMA_OBJECT:
		walk_object(s, v, r);
		break;
	case SCHEMA_LIST:
		walk_list(s, v, r);
		break;
	default:
		walk_map(s, v, r);
	}
}

static const struct schema_kind *const groups[] = {
	schema_kinds_core,  schema_kinds_network,   schema_kinds_security,
	schema_kinds_istio, schema_kinds_telemetry,
};

const struct schema_kind *schema_kind_find(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		for (const struct schema_kind *k = groups[i]; k->kind; k++)
			if (streq(k->kind, kind))
				return k;
	return NULL;
}

static bool is_of_group(const struct schema_kind *k, const char *group)
{
	size_t len = strcspn(group, "/");

	return strncmp(k->api_versions[0], group, len) == 0 && k->api_versions[0][len] == '/';
}

const struct schema_kind *schema_kind_of(const char *group, const char *kind)
{
	const struct schema_kind *read = schema_kind_find(kind);

	if (read && is_of_group(read, group))
		return read;
	for (const struct schema_kind *k = schema_kinds_unread; k->kind; k++)
		if (streq(k->kind, kind) && is_of_group(k, group))
			return k;
	return NULL;
}

const char *schema_kind_names(void)
{
	static char names[256];
	size_t n = 0;

	if (names[0])
		return names;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		for (const struct schema_kind *k = groups[i]; k->kind && n < sizeof(names); k++)
			n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", n ? ", " : "",
					      k->kind);
	return names;
}

static void check_api_version(const struct schema_kind *kind, const json_t *body,
			      struct schema_report *r)
{
	const char *version = json_string_value(json_object_get(body, "apiVersion"));
	size_t mark;

	for (const char *const *v = kind->api_versions; *v; v++)
		if (version && streq(*v, version))
			return;
	mark = schema_enter(r, "apiVersion");
	schema_problem(r, "expected \"%s\" for kind %s", kind->api_versions[0], kind->kind);
	schema_leave(r, mark);
}

static void check_namespace(const struct schema_kind *kind, const json_t *body,
			    struct schema_report *r)
{
	const json_t *metadata = json_object_get(body, "metadata");
	size_t mark = schema_enter(r, "metadata"), inner = schema_enter(r, "namespace");

	if (!kind->is_namespaced && json_string_length(json_object_get(metadata, "namespace")) > 0)
		schema_problem(r, "a %s is in no namespace", kind->kind);
	schema_leave(r, inner);
	schema_leave(r, mark);
}

unsigned int schema_check(const struct schema_kind *kind, const json_t *body,
			  struct schema_report *report)
{
	unsigned int before = report->count;

	if (!report->is_lenient)
		check_api_version(kind, body, report);
	check_namespace(kind, body, report);
	schema_walk(kind->schema, body, report);
	if (report->count == before && kind->check)
		kind->check(body, report);
	return report->count - before;
}

unsigned int schema_doubts(const struct schema_kind *kind, const json_t *body,
			   struct schema_report *report)
{
	unsigned int before = report->count;

	if (kind->doubt)
		kind->doubt(body, report);
	return report->count - before;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "source/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "source/scalar.h"

#define ANCHORS_MAX 1024

/** struct anchor - a named node of this document: its tree and where its lines stand. */
struct anchor {
	json_t *value; /* owned */
	size_t first, count;
	unsigned int height; /* levels below it */
};

struct builder {
	yaml_parser_t parser;
	struct yaml_document doc;
	size_t lines_cap;
	size_t nodes_left; /* of the whole text */
	struct map *anchors;
	unsigned int deepest; /* level that was reached since it was last reset, aliases included */
	int error;            /* -EBADMSG: libyaml gave up; -ENOMEM */
};

static json_t *build_node(struct builder *b, const yaml_event_t *ev, unsigned int line,
			  unsigned int depth);

static void note(struct builder *b, unsigned int line, const char *fmt, ...) _printf_(3, 4);
static void note(struct builder *b, unsigned int line, const char *fmt, ...)
{
	va_list ap;

	if (b->doc.bad_line)
		return;
	b->doc.bad_line = line;
	va_start(ap, fmt);
	(void)str_vprint(b->doc.problem, sizeof(b->doc.problem), fmt, ap);
	va_end(ap);
}

static json_t *fail(struct builder *b, int error)
{
	if (!b->error)
		b->error = error;
	return NULL;
}

static void event_deletep(yaml_event_t *ev)
{
	yaml_event_delete(ev);
}

static bool next_event(struct builder *b, yaml_event_t *ret)
{
	if (yaml_parser_parse(&b->parser, ret))
		return true;
	memset(ret, 0, sizeof(*ret));
	(void)fail(b, b->parser.error == YAML_MEMORY_ERROR ? -ENOMEM : -EBADMSG);
	return false;
}

static unsigned int event_line(const yaml_event_t *ev)
{
	return (unsigned int)ev->start_mark.line + 1;
}

static bool line_push(struct builder *b, unsigned int line)
{
	struct yaml_document *d = &b->doc;

	if (d->lines_count == b->lines_cap) {
		size_t cap = b->lines_cap ? b->lines_cap * 2 : 64;
		unsigned int *p = realloc(d->lines, cap * sizeof(*p));

		if (!p)
			return false;
		d->lines = p;
		b->lines_cap = cap;
	}
	d->lines[d->lines_count++] = line;
	return true;
}

/* Count @n nodes against the limit of the text. */
static bool nodes_take(struct builder *b, size_t n, unsigned int line)
{
	if (n > b->nodes_left) {
		note(b, line,
		     "more than %d values in one file, aliases counted as what they stand for",
		     YAML_NODES_MAX);
		return false;
	}
	b->nodes_left -= n;
	return true;
}

/* Read past the rest of the node that @ev opened. */
static bool skip_node(struct builder *b, const yaml_event_t *ev)
{
	unsigned int open =
		ev->type == YAML_MAPPING_START_EVENT || ev->type == YAML_SEQUENCE_START_EVENT;

	while (open > 0) {
		_cleanup_(event_deletep) yaml_event_t next;

		if (!next_event(b, &next))
			return false;
		if (next.type == YAML_MAPPING_START_EVENT || next.type == YAML_SEQUENCE_START_EVENT)
			open++;
		else if (next.type == YAML_MAPPING_END_EVENT ||
			 next.type == YAML_SEQUENCE_END_EVENT)
			open--;
	}
	return true;
}

static int anchor_add(struct builder *b, const char *name, json_t *value, const struct anchor *is)
{
	struct anchor *a = map_get_str(b->anchors, name);
	int r;

	if (!a) {
		if (map_count(b->anchors) >= ANCHORS_MAX)
			return 0; /* its aliases are then reported as unknown */
		a = calloc(1, sizeof(*a));
		if (!a)
			return -ENOMEM;
		r = map_put_str(b->anchors, name, a);
		if (r < 0) {
			free(a);
			return r;
		}
	}
	json_decref(a->value);
	*a = *is;
	a->value = json_incref(value);
	return 0;
}

static void anchors_clear(struct builder *b)
{
	map_for_each (b->anchors, it) {
		struct anchor *a = it.value;

		json_decref(a->value);
		free(a);
		(void)map_del_str(b->anchors, it.key);
	}
}

/* Aliases may nest aliases: depth and size are those of what they stand for. */
static json_t *build_alias(struct builder *b, const char *name, unsigned int line,
			   unsigned int depth)
{
	const struct anchor *a = map_get_str(b->anchors, name);

	if (!line_push(b, line))
		return fail(b, -ENOMEM);
	if (!a)
		note(b, line, "no anchor \"%.64s\" before this alias", name);
	else if (depth + a->height > YAML_DEPTH_MAX)
		note(b, line, "nested more than %d deep", YAML_DEPTH_MAX);
	else if (nodes_take(b, a->count, line)) {
		for (size_t i = 1; i < a->count; i++)
			if (!line_push(b, b->doc.lines[a->first + i]))
				return fail(b, -ENOMEM);
		b->deepest = MAX(b->deepest, depth + a->height);
		return json_incref(a->value);
	}
	return json_null();
}

static json_t *build_scalar(struct builder *b, const yaml_event_t *ev, unsigned int line)
{
	const char *text = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;
	const char *tag = (const char *)ev->data.scalar.tag;
	bool is_plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !tag;
	json_t *v;

	if (!line_push(b, line))
		return fail(b, -ENOMEM);
	if (memchr(text, '\0', len)) {
		note(b, line, "a NUL character in a string");
		return json_null();
	}
	if (tag && strcmp(tag, YAML_STR_TAG) != 0 && strcmp(tag, "!") != 0)
		note(b, line, "tag \"%.64s\": only !!str is accepted", tag);
	v = is_plain ? scalar_resolve(text) : json_stringn(text, len);
	return v ? v : fail(b, -ENOMEM);
}

/* A key of a mapping, or NULL when it cannot be one. */
static const char *mapping_key(struct builder *b, const yaml_event_t *ev)
{
	const char *key = (const char *)ev->data.scalar.value;

	if (ev->type != YAML_SCALAR_EVENT) {
		note(b, event_line(ev), "a key that is not a plain word");
		return NULL;
	}
	if (strlen(key) != ev->data.scalar.length) {
		note(b, event_line(ev), "a NUL character in a key");
		return NULL;
	}
	if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(key, "<<") == 0) {
		note(b, event_line(ev), "merge keys (<<) are not accepted: write the fields out");
		return NULL;
	}
	return key;
}

/* One key and its value. Return: 1 to go on, 0 at the end of the mapping, -1 on failure (b->error).
 */
static int build_pair(struct builder *b, json_t *object, unsigned int depth)
{
	_cleanup_(event_deletep) yaml_event_t key_ev;
	_cleanup_(event_deletep) yaml_event_t ev = {0};
	const char *key;
	json_t *v;

	if (!next_event(b, &key_ev))
		return -1;
	if (key_ev.type == YAML_MAPPING_END_EVENT)
		return 0;
	key = mapping_key(b, &key_ev);
	if (!key && !skip_node(b, &key_ev))
		return -1;
	if (!next_event(b, &ev))
		return -1;
	if (key && json_object_get(object, key)) {
		note(b, event_line(&key_ev), "duplicate key \"%.64s\"", key);
		key = NULL;
	}
	if (!key)
		return skip_node(b, &ev) ? 1 : -1;
	v = build_node(b, &ev, event_line(&key_ev), depth);
	if (!v)
		return -1;
	if (json_object_set_new(object, key, v) < 0) {
		(void)fail(b, -ENOMEM);
		return -1;
	}
	return 1;
}

static bool build_mapping(struct builder *b, json_t *object, unsigned int depth)
{
	int r;

	do
		r = build_pair(b, object, depth);
	while (r > 0);
	return r == 0;
}

static bool build_sequence(struct builder *b, json_t *array, unsigned int depth)
{
	for (;;) {
		_cleanup_(event_deletep) yaml_event_t ev;
		json_t *v;

		if (!next_event(b, &ev))
			return false;
		if (ev.type == YAML_SEQUENCE_END_EVENT)
			return true;
		v = build_node(b, &ev, event_line(&ev), depth);
		if (!v)
			return false;
		if (json_array_append_new(array, v) < 0) {
			(void)fail(b, -ENOMEM);
			return false;
		}
	}
}

static json_t *build_collection(struct builder *b, const yaml_event_t *ev, unsigned int line,
				unsigned int depth)
{
	bool is_mapping = ev->type == YAML_MAPPING_START_EVENT;
	json_t *v;

	if (!line_push(b, line))
		return fail(b, -ENOMEM);
	if (depth >= YAML_DEPTH_MAX) {
		note(b, line, "nested more than %d deep", YAML_DEPTH_MAX);
		return skip_node(b, ev) ? json_null() : NULL;
	}
	v = is_mapping ? json_object() : json_array();
	if (!v)
		return fail(b, -ENOMEM);
	if (is_mapping ? build_mapping(b, v, depth + 1) : build_sequence(b, v, depth + 1))
		return v;
	json_decref(v);
	return NULL;
}

/* The node that @ev opens. Return: a new reference; NULL when the text cannot be read on
 * (b->error). */
static json_t *build_node(struct builder *b, const yaml_event_t *ev, unsigned int line,
			  unsigned int depth)
{
	unsigned int deepest = b->deepest;
	struct anchor a = {.first = b->doc.lines_count};
	const char *anchor = NULL;
	json_t *v;

	if (ev->type == YAML_ALIAS_EVENT)
		return build_alias(b, (const char *)ev->data.alias.anchor, line, depth);
	if (!nodes_take(b, 1, line)) {
		if (!line_push(b, line))
			return fail(b, -ENOMEM);
		return skip_node(b, ev) ? json_null() : NULL;
	}
	b->deepest = depth;
	if (ev->type == YAML_SCALAR_EVENT) {
		anchor = (const char *)ev->data.scalar.anchor;
		v = build_scalar(b, ev, line);
	} else {
		anchor = ev->type == YAML_MAPPING_START_EVENT
				 ? (const char *)ev->data.mapping_start.anchor
				 : (const char *)ev->data.sequence_start.anchor;
		v = build_collection(b, ev, line, depth);
	}
	a.count = b->doc.lines_count - a.first;
	a.height = b->deepest - depth;
	b->deepest = MAX(b->deepest, deepest);
	if (v && anchor && anchor_add(b, anchor, v, &a) < 0) {
		json_decref(v);
		return fail(b, -ENOMEM);
	}
	return v;
}

static int build_document(struct builder *b, int (*fn)(void *arg, const struct yaml_document *doc),
			  void *arg)
{
	_cleanup_(event_deletep) yaml_event_t ev;
	int r = 0;

	b->doc.lines_count = 0;
	b->doc.bad_line = 0;
	b->doc.problem[0] = '\0';
	if (!next_event(b, &ev))
		return b->error;
	b->doc.line = event_line(&ev);
	b->doc.body = build_node(b, &ev, b->doc.line, 0);
	anchors_clear(b);
	if (!b->doc.body)
		return b->error;
	if (!json_is_null(b->doc.body) || b->doc.bad_line)
		r = fn(arg, &b->doc);
	json_decref(b->doc.body);
	return r;
}

static int build_stream(struct builder *b, int (*fn)(void *arg, const struct yaml_document *doc),
			void *arg)
{
	for (;;) {
		_cleanup_(event_deletep) yaml_event_t ev;
		int r;

		if (!next_event(b, &ev))
			return b->error;
		if (ev.type == YAML_STREAM_END_EVENT)
			return 0;
		if (ev.type != YAML_DOCUMENT_START_EVENT)
			continue;
		r = build_document(b, fn, arg);
		if (r != 0)
			return r;
	}
}

static void problem_fill(const yaml_parser_t *p, struct yaml_problem *ret)
{
	size_t line = p->problem_mark.line;

	ret->line = (unsigned int)line + 1;
	(void)snprintf(ret->message, sizeof(ret->message), "not YAML: %s%s%s",
		       p->problem ? p->problem : "unreadable", p->context ? " " : "",
		       p->context ? p->context : "");
}

int yaml_parse(const char *text, size_t len, int (*fn)(void *arg, const struct yaml_document *doc),
	       void *arg, struct yaml_problem *ret)
{
	_cleanup_(map_freep) struct map *anchors = NULL;
	struct builder b = {.nodes_left = YAML_NODES_MAX};
	int r;

	r = map_new(&anchors);
	if (r < 0)
		return r;
	b.anchors = anchors;
	if (!yaml_parser_initialize(&b.parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
	r = build_stream(&b, fn, arg);
	if (r == -EBADMSG && b.error == -EBADMSG)
		problem_fill(&b.parser, ret);
	yaml_parser_delete(&b.parser);
	anchors_clear(&b);
	free(b.doc.lines);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "source/object.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "source/pod_facts.h"
#include "source/json_pool.h"

/** struct step - one part of a path: a key, or an index when the value is a list. */
struct step {
	const char *key; /* in the path */
	size_t len;
	bool is_bracket;
};

/* Cut the next step off @path. Return: the rest; NULL when the path is malformed. */
static const char *step_next(const char *path, struct step *ret)
{
	const char *start, *end;

	ret->is_bracket = *path == '[';
	if (ret->is_bracket) {
		start = path + 1;
		end = strchr(start, ']');
		if (!end)
			return NULL;
	} else {
		start = *path == '.' ? path + 1 : path;
		for (end = start; *end && *end != '.' && *end != '['; end++)
			;
	}
	if (end == start)
		return NULL;
	ret->key = start;
	ret->len = (size_t)(end - start);
	return ret->is_bracket ? end + 1 : end;
}

/* Return: the index that a step in brackets is; SIZE_MAX: none. */
static size_t step_index(const struct step *step)
{
	char *end;
	size_t i = strtoul(step->key, &end, 10);

	return step->is_bracket && end == step->key + step->len ? i : SIZE_MAX;
}

static json_t *step_take(const json_t *v, const struct step *step)
{
	if (json_is_object(v))
		return json_object_getn(v, step->key, step->len);
	return json_is_array(v) ? json_array_get(v, step_index(step)) : NULL;
}

size_t object_node_count(const json_t *v)
{
	size_t n = 1, i;
	const char *key;
	json_t *child;

	json_object_foreach ((json_t *)v, key, child)
		n += object_node_count(child);
	json_array_foreach (v, i, child)
		n += object_node_count(child);
	return n;
}

/* Where @child stands in the pre-order of its parent @v, relative to @v. */
static size_t child_offset(const json_t *v, const json_t *target, const struct step *step)
{
	size_t n = 1, i;
	const char *key;
	json_t *child;

	json_object_foreach ((json_t *)v, key, child) {
		if (strncmp(key, step->key, step->len) == 0 && !key[step->len])
			return n;
		n += object_node_count(child);
	}
	json_array_foreach (v, i, child) {
		/* An alias makes one node appear twice, so that the pointer alone would not tell.
		 */
		if (child == target && i == step_index(step))
			return n;
		n += object_node_count(child);
	}
	return 0;
}

json_t *object_value(const struct object *o, const char *path)
{
	json_t *v = o->body;
	struct step step;

	while (v && *path) {
		path = step_next(path, &step);
		if (!path)
			return NULL;
		v = step_take(v, &step);
	}
	return json_is_null(v) ? NULL : v;
}

const char *object_string(const struct object *o, const char *path)
{
	return json_string_value(object_value(o, path));
}

const char *object_label(const struct object *o, const char *key)
{
	return o ? json_string_value(json_object_get(o->labels, key)) : NULL;
}

const char *object_annotation(const struct object *o, const char *key)
{
	return o ? json_string_value(json_object_get(o->annotations, key)) : NULL;
}

bool labels_match(const json_t *wanted, const json_t *labels)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)wanted, key, value) {
		const char *mine = json_string_value(json_object_get(labels, key));
		const char *want = json_string_value(value);

		if (!mine || !streq(mine, want ? want : ""))
			return false;
	}
	return true;
}

/* node_at() - where the deepest part of @path that exists stands in the pre-order of the body.
 * @ret: that part. */
static size_t node_at(const struct object *o, const char *path, const json_t **ret)
{
	const json_t *v = o->body;
	size_t at = 0;
	struct step step;

	while (path && *path) {
		const json_t *child;

		path = step_next(path, &step);
		child = path ? step_take(v, &step) : NULL;
		if (!child)
			break;
		at += child_offset(v, child, &step);
		v = child;
	}
	*ret = v;
	return at;
}

unsigned int object_line(const struct object *o, const char *path)
{
	const json_t *v;
	size_t at = node_at(o, path, &v);

	return at < o->_lines_count ? o->_lines[at] : o->line;
}

int object_lines(const struct object *o, const char *path, unsigned int **ret, size_t *ret_count)
{
	const json_t *v;
	size_t at = node_at(o, path, &v), n = object_node_count(v);
	unsigned int *lines;

	*ret = NULL;
	*ret_count = 0;
	if (at + n > o->_lines_count)
		return 0;
	lines = malloc(n * sizeof(*lines));
	if (!lines)
		return -ENOMEM;
	memcpy(lines, o->_lines + at, n * sizeof(*lines));
	*ret = lines;
	*ret_count = n;
	return 0;
}

/* The texts stand behind the struct. Return: where the next one goes. */
static char *text_put(const char **field, char *to, const char *text)
{
	size_t size = strlen(text) + 1;

	memcpy(to, text, size);
	*field = to;
	return to + size;
}

static struct object *object_alloc(const struct object_init *init)
{
	const char *kind = init->kind ? init->kind : "", *name = init->name ? init->name : "";
	const char *namespace_ = init->namespace_ ? init->namespace_ : "";
	const char *file = init->file ? init->file : "";
	struct object *o = calloc(1, sizeof(*o) + strlen(kind) + strlen(name) + strlen(namespace_) +
					     strlen(file) + 4);
	char *to;

	if (!o)
		return NULL;
	to = text_put(&o->kind, (char *)(o + 1), kind);
	to = text_put(&o->namespace_, to, namespace_);
	to = text_put(&o->name, to, name);
	(void)text_put(&o->file, to, file);
	return o;
}

int object_new(const struct object_init *init, struct object **ret)
{
	_cleanup_(object_unrefp) struct object *o = object_alloc(init);
	const json_t *metadata;

	if (!o) {
		json_decref(init->body);
		free(init->lines);
		return -ENOMEM;
	}
	o->_refs = 1;
	o->body = init->body;
	o->_lines = init->lines;
	o->_lines_count = init->lines ? init->lines_count : 0;
	o->line = init->line;
	o->is_invalid = init->is_invalid;
	if (!init->kind || !init->name || !json_is_object(init->body))
		return -EINVAL;
	metadata = json_object_get(o->body, "metadata");
	o->labels = json_object_get(metadata, "labels");
	o->annotations = json_object_get(metadata, "annotations");
	*ret = TAKE_PTR(o);
	return 0;
}

int object_new_json(json_t *body, struct object **ret)
{
	const json_t *metadata = json_object_get(body, "metadata");
	struct object_init init = {
		.kind = json_string_value(json_object_get(body, "kind")),
		.namespace_ = json_string_value(json_object_get(metadata, "namespace")),
		.name = json_string_value(json_object_get(metadata, "name")),
		.body = body,
	};

	return object_new(&init, ret);
}

static void body_drop(struct object *o)
{
	json_decref(o->body);
	free(o->_lines);
	o->body = NULL;
	o->_lines = NULL;
	o->_lines_count = 0;
}

/* Those about sidecars decide whether a pod is enrolled. Return: NULL when there are none, or no
 * memory (@ret_error). */
static json_t *sidecar_annotations(const json_t *all, int *ret_error)
{
	json_t *kept = NULL, *value;
	const char *key;

	json_object_foreach ((json_t *)all, key, value) {
		if (strncmp(key, "sidecar.istio.io/", strlen("sidecar.istio.io/")) != 0)
			continue;
		if (!kept)
			kept = json_object();
		if (json_object_set(kept, key, value) < 0)
			*ret_error = -ENOMEM;
	}
	return kept;
}

int object_reduce(struct object *o, struct json_pool *pool)
{
	_cleanup_(json_decrefp) json_t *annotations = NULL;
	struct pod_facts *facts = NULL;
	int r = 0;

	if (!streq(o->kind, "Pod") || o->pod)
		return 0;
	annotations = sidecar_annotations(o->annotations, &r);
	if (r == 0)
		r = pod_facts_read(o, &facts);
	if (r < 0)
		return r;
	o->_shared[0] = json_pool_get(pool, (json_t *)(uintptr_t)o->labels);
	o->_shared[1] = json_pool_get(pool, annotations);
	o->labels = o->_shared[0];
	o->annotations = o->_shared[1];
	o->pod = facts;
	body_drop(o);
	return 0;
}

static bool trees_are_same(const struct object *a, const struct object *b)
{
	return a->_lines_count == b->_lines_count &&
	       (a->_lines_count == 0 ||
		memcmp(a->_lines, b->_lines, a->_lines_count * sizeof(*a->_lines)) == 0) &&
	       json_equal(a->body, b->body);
}

static bool json_is_same(const json_t *a, const json_t *b)
{
	return a == b || (a && b && json_equal(a, b));
}

bool object_is_same(const struct object *a, const struct object *b)
{
	if (a == b)
		return true;
	if (a->is_invalid != b->is_invalid || a->line != b->line || !streq(a->file, b->file))
		return false;
	if (!a->pod || !b->pod)
		return a->body && b->body && trees_are_same(a, b);
	return json_is_same(a->labels, b->labels) && json_is_same(a->annotations, b->annotations) &&
	       pod_facts_is_equal(a->pod, b->pod);
}

struct object *object_ref(const struct object *o)
{
	struct object *mine = (struct object *)o;

	mine->_refs++;
	return mine;
}

struct object *object_unref(struct object *o)
{
	if (!o || --o->_refs > 0)
		return NULL;
	body_drop(o);
	json_decref(o->_shared[0]);
	json_decref(o->_shared[1]);
	(void)pod_facts_free((struct pod_facts *)(uintptr_t)o->pod);
	free(o);
	return NULL;
}

int object_compare_age(const struct object *a, const struct object *b)
{
	const char *at_a = object_string(a, "metadata.creationTimestamp");
	const char *at_b = object_string(b, "metadata.creationTimestamp");

	return strcmp(at_a ? at_a : "~", at_b ? at_b : "~");
}

bool object_is_older(const struct object *a, const struct object *b)
{
	int order = object_compare_age(a, b);

	if (order == 0)
		order = strcmp(a->file, b->file);
	if (order == 0 && a->line != b->line)
		order = a->line < b->line ? -1 : 1;
	return order ? order < 0 : strcmp(a->name, b->name) < 0;
}

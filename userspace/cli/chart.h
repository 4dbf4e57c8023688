/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* chart - the Helm chart of tools/deploy/chart, which is inside this program: its values, their
 * checks, and the manifests that they make. One thread. What a mistake is, is said in a sentence of
 * at most CHART_ERROR_MAX bytes. */
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/macros.h"

#define CHART_ERROR_MAX 512

/** struct chart_file - one file of the chart. */
struct chart_file {
	const char *path; /* below tools/deploy/chart */
	const char *text; /* static, NUL-terminated */
};

/** chart_file() - the text of the file called @path; NULL: there is none. */
const char *chart_file(const char *path);
/** chart_files() - all of them, @ret_n; static. */
const struct chart_file *chart_files(size_t *ret_n);

/** struct chart_profile - a named set of values. */
struct chart_profile {
	const char *name;
	const char *help; /* one line */
};
/** chart_profiles() - all of them; a NULL name ends the table. */
const struct chart_profile *chart_profiles(void);

/**
 * chart_values() - the values of a profile: the chart's own, and what the profile says otherwise.
 * @ret: the caller's to drop.
 * Return: 0; -ENOENT no such profile; -EINVAL what is inside this program is broken; both with
 * @err set.
 */
_must_check_ int chart_values(const char *profile, json_t **ret, char err[CHART_ERROR_MAX]);

/** chart_schema() - values.schema.json, each "$ref" resolved; the caller's to drop. NULL: out of
 * memory. */
json_t *chart_schema(void);

/** chart_merge() - put what @over says over @base: objects key by key, all else whole. Return: 0;
 * -ENOMEM. */
_must_check_ int chart_merge(json_t *base, const json_t *over);

/** struct chart_lines - where the nodes of a tree stand in a file, for messages. */
struct chart_lines {
	const char *file;          /* NULL: the tree is from no file */
	const unsigned int *lines; /* pre-order */
	size_t count;
};

/**
 * chart_check() - is @v what @schema wants? JSON Schema: type, properties, additionalProperties,
 * items, enum, pattern, maxLength, minimum with maximum, propertyNames as anyOf of enum and
 * not.pattern; others are not looked at.
 * @lines: of @v; NULL: it is from no file.
 * Return: 0; -EINVAL with @err: where, what, and what was expected or the nearest known key.
 */
_must_check_ int chart_check(const json_t *schema, const json_t *v, const struct chart_lines *lines,
			     char err[CHART_ERROR_MAX]);

/** chart_say_foreign() - a line for each key of @values, which fit the schema, that is Istio's or
 * another chart's and nothing here. */
void chart_say_foreign(const json_t *values, FILE *f);

/**
 * chart_set() - "a.b[0].c=value" into @root, making what is missing. The schema says whether the
 * value is text; else it is read as YAML. "\." is a dot inside a key.
 * Return: 0; -EINVAL with @err: no "=", no key, no YAML, an unknown key.
 */
_must_check_ int chart_set(json_t *root, const json_t *schema, const char *assignment,
			   char err[CHART_ERROR_MAX]);

/**
 * chart_yaml() - the one document of @text as a tree; an empty text is {}.
 * @name:   of the file, for messages.
 * @schema: what the tree is checked against; NULL: nothing.
 * @ret:    the caller's to drop.
 * Return: 0; -EINVAL no YAML, several documents, or not what the schema wants: @err says where.
 */
_must_check_ int chart_yaml(const char *name, const char *text, const json_t *schema, json_t **ret,
			    char err[CHART_ERROR_MAX]);

/**
 * chart_render() - a template with @values, into @out. Go's template language, of it only: the
 * actions `.Values.a.b`, the same `| toJson` once or more, `if .Values.a.b`, `else`, `end`, `range
 * .Values.a.b`, where `.` is the element, `if kindIs "string" .`, and `{{-`, which eats the space
 * before it.
 * Return: 0; -EINVAL with @err naming @name and the line; -ENOMEM.
 */
_must_check_ int chart_render(const char *name, const char *text, const json_t *values,
			      struct buf *out, char err[CHART_ERROR_MAX]);

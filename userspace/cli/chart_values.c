/* SPDX-License-Identifier: Apache-2.0 */
/* chart_values - the chart's own values, profiles, and YAML that a user has written. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "chart.h"
#include "json.h"
#include "source/yaml.h"

#define DEFINITIONS "#/definitions/"

static const struct chart_profile profiles[] = {
	{"default", "the chart's own values"},
	{"demo", "small requests, each connection in the log, for trying"},
	{"minimal", "the least that works, for small machines"},
	{"production", "two control planes, more room, log lines as JSON"},
	{0},
};

/* One text on its way. */
struct reader {
	const char *name;
	const json_t *schema;
	json_t *tree;
	char *err;
};

const struct chart_profile *chart_profiles(void)
{
	return profiles;
}

/* resolve() - put each definition where "#/definitions/NAME" stands for it. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as the chart's own schema */
static void resolve(json_t *schema, const json_t *definitions)
{
	const char *key;
	json_t *child;

	json_object_foreach (schema, key, child) {
		const char *ref = json_text(child, "$ref", "");

		if (str_has_prefix(ref, DEFINITIONS)) {
			child = json_object_get(definitions, ref + strlen(DEFINITIONS));
			(void)json_object_set(schema, key, child);
		}
		resolve(child, definitions);
	}
}

json_t *chart_schema(void)
{
	json_t *schema = json_loads(chart_file("values.schema.json"), 0, NULL);

	resolve(schema, json_object_get(schema, "definitions"));
	return schema;
}

int chart_merge(json_t *base, const json_t *over)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)over, key, v) {
		json_t *old = json_object_get(base, key);

		if (json_is_object(old) && json_is_object(v)) {
			if (chart_merge(old, v) < 0)
				return -ENOMEM;
		} else if (json_object_set_new(base, key, json_deep_copy(v)) < 0) {
			return -ENOMEM;
		}
	}
	return 0;
}

static int on_document(void *arg, const struct yaml_document *doc)
{
	struct reader *r = arg;
	struct chart_lines lines = {
		.file = r->name, .lines = doc->lines, .count = doc->lines_count};

	if (doc->bad_line > 0 || r->tree) {
		(void)snprintf(r->err, CHART_ERROR_MAX, "%s:%u: %s", r->name,
			       doc->bad_line > 0 ? doc->bad_line : doc->line,
			       doc->bad_line > 0 ? doc->problem
						 : "a second document; one is expected");
		return -EINVAL;
	}
	r->tree = json_incref(doc->body);
	return r->schema ? chart_check(r->schema, doc->body, &lines, r->err) : 0;
}

int chart_yaml(const char *name, const char *text, const json_t *schema, json_t **ret,
	       char err[CHART_ERROR_MAX])
{
	struct reader reader = {.name = name, .schema = schema, .err = err};
	_cleanup_(json_decrefp) json_t *tree = NULL;
	struct yaml_problem problem;
	int r;

	r = yaml_parse(text, strlen(text), on_document, &reader, &problem);
	tree = reader.tree ? reader.tree : json_object();
	if (r == -EBADMSG)
		(void)snprintf(err, CHART_ERROR_MAX, "%s:%u: %s", name, problem.line,
			       problem.message);
	if (r < 0)
		return r == -EBADMSG ? -EINVAL : r;
	*ret = TAKE_PTR(tree);
	return 0;
}

static int add_file(json_t *values, const char *path, const json_t *schema, char *err)
{
	_cleanup_(json_decrefp) json_t *more = NULL;
	int r = chart_yaml(path, chart_file(path), schema, &more, err);

	return r < 0 ? r : chart_merge(values, more);
}

static const char *profile_path(const char *profile, char *path, size_t size)
{
	(void)snprintf(path, size, "profiles/%s.yaml", profile);
	for (const struct chart_profile *p = profiles; p->name; p++)
		if (streq(p->name, profile))
			return chart_file(path);
	return NULL;
}

int chart_values(const char *profile, json_t **ret, char err[CHART_ERROR_MAX])
{
	_cleanup_(json_decrefp) json_t *values = json_object();
	_cleanup_(json_decrefp) json_t *schema = chart_schema();
	char path[64];
	int r;

	if (!values || !schema)
		return -ENOMEM;
	/* Istio's name for a mesh without sidecars, which is all that there is here */
	if (streq(profile, "ambient"))
		profile = "default";
	if (!profile_path(profile, path, sizeof(path))) {
		(void)snprintf(
			err, CHART_ERROR_MAX,
			"no profile \"%s\": default (ambient is the same), demo, minimal and "
			"production are known",
			profile);
		return -ENOENT;
	}
	r = add_file(values, "values.yaml", schema, err);
	if (r == 0)
		r = add_file(values, path, schema, err);
	if (r == 0)
		*ret = TAKE_PTR(values);
	return r;
}

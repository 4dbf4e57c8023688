/* SPDX-License-Identifier: Apache-2.0 */
/* analyze_suppress - which findings their user does not want to hear of. */
#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "analyze.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "kube_kinds.h"

#define ANNOTATION "galley.istio.io/analyze-suppress" /* of Istio: codes with commas, or * */
#define ORIGIN_MAX 600

/* with_dot() - "Kind name.namespace" of "Kind namespace/name". Return: NULL: it is in none, or no
 * memory. */
static char *with_dot(const char *origin)
{
	const char *ns = strchr(origin, ' '), *name = ns ? strchr(ns, '/') : NULL;

	if (!name)
		return NULL;
	return str_format("%.*s%s.%.*s", (int)(ns + 1 - origin), origin, name + 1,
			  (int)(name - ns - 1), ns + 1);
}

static bool is_object(const char *pattern, const char *origin)
{
	_cleanup_(freep) char *dotted = with_dot(origin);

	return fnmatch(pattern, origin, 0) == 0 || (dotted && fnmatch(pattern, dotted, 0) == 0);
}

static bool value_is_meant(const char *value, const json_t *finding)
{
	_cleanup_(freep) char *copy = strdup(value);
	char *rest = copy, *one;

	while ((one = strsep(&rest, ","))) {
		char *object = strchr(one, '=');

		if (!object)
			continue;
		*object++ = '\0';
		if (streq(one, json_text(finding, "code", "")) &&
		    is_object(object, json_text(finding, "origin", "")))
			return true;
	}
	return false;
}

bool suppress_is_meant(const struct option_list *values, const json_t *finding)
{
	for (size_t i = 0; i < values->count; i++)
		if (value_is_meant(values->values[i], finding))
			return true;
	return false;
}

int suppress_check(const struct option_list *values)
{
	for (size_t i = 0; i < values->count; i++) {
		for (const char *one = values->values[i]; one; one = strchr(one, ',')) {
			one += *one == ',';
			if (one[strcspn(one, ",=")] == '=')
				continue;
			(void)cli_fail("analyze: --suppress %s: expected CODE=OBJECT, as "
				       "\"IST0102=Namespace default\"",
				       values->values[i]);
			return -EINVAL;
		}
	}
	return 0;
}

void suppress_note(struct analysis *a, const struct analysis_name *name, const json_t *body)
{
	const char *codes = kube_meta(body, "annotations", ANNOTATION);
	char origin[ORIGIN_MAX];

	analysis_origin(origin, sizeof(origin), name);
	(void)str_utf8(origin);
	if (!a->unwanted)
		a->unwanted = json_object();
	if (codes)
		(void)json_object_set_new(a->unwanted, origin, json_string(codes));
	else
		(void)json_object_del(a->unwanted, origin);
}

bool suppress_is_noted(const struct analysis *a, const json_t *finding)
{
	const char *codes = json_text(a->unwanted, json_text(finding, "origin", ""), "");
	_cleanup_(freep) char *copy = strdup(codes);
	char *rest = copy, *one;

	while ((one = strsep(&rest, ",")))
		if (streq(one, "*") || streq(one, json_text(finding, "code", "")))
			return true;
	return false;
}

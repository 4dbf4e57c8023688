/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/str.h"
#include "json.h"
#include "kube_kinds.h"
#include "findings.h"
#include "precheck.h"
#include "source/honoured.h"
#include "source/schema.h"

#define NAMES_MAX 256

static bool is_of(const char *const *versions, const char *group)
{
	size_t len = strlen(group);

	return strncmp(versions[0], group, len) == 0 && versions[0][len] == '/';
}

/* What we read of a kind of Istio's. Return: NULL-ended; NULL: nothing. */
static const char *const *versions_read(const char *group, const char *kind)
{
	const struct schema_kind *known = schema_kind_find(kind);
	const struct honoured_kind *none = honoured_find(group, kind);

	if (!str_has_suffix(group, ".istio.io"))
		return NULL;
	if (known && is_of(known->api_versions, group))
		return known->api_versions;
	return none ? none->versions : NULL;
}

static bool is_served(const json_t *spec, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(spec, "versions"), i, one)
		if (json_is_true(json_object_get(one, "served")) &&
		    streq(json_text(one, "name", ""), name))
			return true;
	return false;
}

static void names_served(const json_t *spec, char *buf)
{
	const json_t *one;
	size_t i, len = 0;

	buf[0] = '\0';
	json_array_foreach (json_object_get(spec, "versions"), i, one) {
		if (!json_is_true(json_object_get(one, "served")))
			continue;
		(void)str_concat(buf + len, NAMES_MAX - len, len > 0 ? ", " : "",
				 json_text(one, "name", "?"));
		len += strlen(buf + len);
	}
}

static bool is_installed(const json_t *objects, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach (objects, i, one)
		if (streq(json_text(one, "kind", ""), "CustomResourceDefinition") &&
		    streq(kube_name(one), name))
			return true;
	return false;
}

static void definition_check(const json_t *crd, const json_t *objects, json_t *list)
{
	const json_t *spec = json_object_get(crd, "spec");
	const char *kind = json_text(json_object_get(spec, "names"), "kind", "");
	const char *const *read = versions_read(json_text(spec, "group", ""), kind);
	_cleanup_(freep) char *origin = kube_title(crd);
	struct finding f = {FINDING_WARNING, "CUL0007", origin ? origin : kind, NULL};
	const char *newest = read ? strchr(read[0], '/') + 1 : "";
	const char *const *v;
	char served[NAMES_MAX];

	if (!read || is_served(spec, newest))
		return;
	names_served(spec, served);
	for (v = read; *v && !is_served(spec, strchr(*v, '/') + 1); v++)
		;
	if (is_installed(objects, kube_name(crd))) {
		f.level = FINDING_INFO;
		findings_add(list, &f,
			     "serves %s only, of an older Istio: the installation adds %s",
			     *served ? served : "no version", newest);
	} else if (*v) {
		findings_add(list, &f,
			     "serves %s only, of an older Istio: what is there is read as %s, but "
			     "the API server refuses a %s written as %s; install newer "
			     "definitions, or leave out --set components.base.enabled=false",
			     served, strchr(*v, '/') + 1, kind, newest);
	} else {
		findings_add(list, &f,
			     "serves %s, which is not read: no %s has any effect; install newer "
			     "definitions, or leave out --set components.base.enabled=false",
			     *served ? served : "no version", kind);
	}
}

void precheck_definitions(const json_t *crds, const json_t *objects, json_t *list)
{
	const json_t *one;
	size_t i;

	json_array_foreach (crds, i, one)
		definition_check(one, objects, list);
}

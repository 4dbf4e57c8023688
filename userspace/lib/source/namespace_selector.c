/* SPDX-License-Identifier: Apache-2.0 */
#include "source/namespace_selector.h"

#include <string.h>

#include "base/json.h"
#include "base/str.h"

/* Kubernetes gives every namespace this label. */
#define NAME_LABEL "kubernetes.io/metadata.name"

static const char *label_of(const struct object *ns, const char *name, const char *key)
{
	const char *value = ns ? object_label(ns, key) : NULL;

	return !value && streq(key, NAME_LABEL) ? name : value;
}

/* As labels_match(), and every Namespace has a label of its name. */
static bool pairs_match(const json_t *wanted, const struct object *ns, const char *name)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)wanted, key, value) {
		const char *mine = label_of(ns, name, key);

		if (!mine || !streq(mine, json_string_value(value)))
			return false;
	}
	return true;
}

static bool expression_matches(const json_t *e, const struct object *ns, const char *name)
{
	const char *how = json_string_value(json_object_get(e, "operator"));
	const char *mine = label_of(ns, name, json_string_value(json_object_get(e, "key")));
	const json_t *values = json_object_get(e, "values");

	if (streq(how, "Exists"))
		return mine;
	if (streq(how, "DoesNotExist"))
		return !mine;
	return (mine && json_has_text(values, mine)) == streq(how, "In");
}

bool namespace_selector_matches(const json_t *selector, const struct object *ns, const char *name)
{
	const json_t *one;
	size_t i;

	if (!pairs_match(json_object_get(selector, "matchLabels"), ns, name))
		return false;
	json_array_foreach (json_object_get(selector, "matchExpressions"), i, one)
		if (!expression_matches(one, ns, name))
			return false;
	return true;
}

static bool expression_is_sound(const json_t *e)
{
	const char *how = json_string_value(json_object_get(e, "operator"));
	bool wants_values = streq(how, "In") || streq(how, "NotIn");

	return wants_values == (json_array_size(json_object_get(e, "values")) > 0);
}

bool namespace_selector_is_sound(const json_t *selector)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(selector, "matchExpressions"), i, one)
		if (!expression_is_sound(one))
			return false;
	return true;
}

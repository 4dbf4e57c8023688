/* SPDX-License-Identifier: Apache-2.0 */
#include "daemonset.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "source/object.h"

static const json_t *at(const json_t *o, const char *key)
{
	return json_object_get(o, key);
}

/* ---- labels ---- */

static bool has_value(const json_t *values, const json_t *is)
{
	const json_t *one;
	size_t i;

	json_array_foreach (values, i, one)
		if (json_equal((json_t *)(uintptr_t)one, (json_t *)(uintptr_t)is))
			return true;
	return false;
}

/* Gt, Lt: a label that is no number matches neither. */
static bool is_beyond(const json_t *values, const json_t *is, bool is_greater)
{
	const char *bound = json_string_value(json_array_get(values, 0));
	const char *value = json_string_value(is);
	uint64_t a, b;

	if (!bound || str_parse_u64(bound, 0, INT64_MAX, &b) < 0)
		return true; /* not understood */
	if (!value || str_parse_u64(value, 0, INT64_MAX, &a) < 0)
		return false;
	return is_greater ? a > b : a < b;
}

/* @is: the node's value; NULL: it has none. */
static bool requirement_matches(const json_t *requirement, const json_t *is)
{
	const char *op = json_text(requirement, "operator", "");
	const json_t *values = at(requirement, "values");

	if (streq(op, "In"))
		return is && has_value(values, is);
	if (streq(op, "NotIn"))
		return !is || !has_value(values, is);
	if (streq(op, "Exists"))
		return is;
	if (streq(op, "DoesNotExist"))
		return !is;
	if (streq(op, "Gt") || streq(op, "Lt"))
		return is_beyond(values, is, streq(op, "Gt"));
	return true;
}

/* All of a term; one that is empty matches no node. */
static bool term_matches(const json_t *term, const json_t *meta)
{
	const json_t *labels = at(term, "matchExpressions"), *fields = at(term, "matchFields");
	const json_t *one;
	size_t i;

	json_array_foreach (labels, i, one)
		if (!requirement_matches(one, at(at(meta, "labels"), json_text(one, "key", ""))))
			return false;
	json_array_foreach (fields, i, one)
		if (streq(json_text(one, "key", ""), "metadata.name") &&
		    !requirement_matches(one, at(meta, "name")))
			return false;
	return json_array_size(labels) + json_array_size(fields) > 0;
}

static bool affinity_matches(const json_t *spec, const json_t *meta)
{
	const json_t *terms = at(at(at(at(spec, "affinity"), "nodeAffinity"),
				    "requiredDuringSchedulingIgnoredDuringExecution"),
				 "nodeSelectorTerms");
	const json_t *one;
	size_t i;

	json_array_foreach (terms, i, one)
		if (term_matches(one, meta))
			return true;
	return json_array_size(terms) == 0;
}

/* ---- taints ---- */

static bool is_tolerated(const json_t *taint, const json_t *tolerations)
{
	const json_t *one;
	size_t i;

	json_array_foreach (tolerations, i, one) {
		const char *key = json_text(one, "key", ""), *effect = json_text(one, "effect", "");
		bool is_equal = streq(json_text(one, "operator", ""), "Equal") ||
				!*json_text(one, "operator", "");

		if ((!*effect || streq(effect, "NoExecute")) &&
		    (!*key || streq(key, json_text(taint, "key", ""))) &&
		    (!is_equal ||
		     streq(json_text(one, "value", ""), json_text(taint, "value", ""))))
			return true;
	}
	return false;
}

static bool taints_let(const json_t *spec, const json_t *node)
{
	const json_t *one;
	size_t i;

	json_array_foreach (at(at(node, "spec"), "taints"), i, one)
		if (streq(json_text(one, "effect", ""), "NoExecute") &&
		    !str_has_prefix(json_text(one, "key", ""), "node.kubernetes.io/") &&
		    !str_has_prefix(json_text(one, "key", ""),
				    "node.cloudprovider.kubernetes.io/") &&
		    !is_tolerated(one, at(spec, "tolerations")))
			return false;
	return true;
}

bool daemonset_wants(const json_t *daemonset, const json_t *node)
{
	const json_t *spec = at(at(at(daemonset, "spec"), "template"), "spec");
	const json_t *meta = at(node, "metadata");

	return !spec || !meta ||
	       (labels_match(at(spec, "nodeSelector"), at(meta, "labels")) &&
		affinity_matches(spec, meta) && taints_let(spec, node));
}

enum daemonset_fate daemonset_fate(const json_t *daemonset)
{
	const json_t *meta = at(daemonset, "metadata"), *one;
	size_t i;

	if (!at(meta, "deletionTimestamp"))
		return DAEMONSET_STAYS;
	json_array_foreach (at(meta, "finalizers"), i, one)
		if (json_is_string(one) && streq(json_string_value(one), "orphan"))
			return DAEMONSET_ORPHANS;
	return DAEMONSET_GOES;
}

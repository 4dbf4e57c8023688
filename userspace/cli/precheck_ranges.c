/* SPDX-License-Identifier: Apache-2.0 */
/* What addresses pods have must be known: by it nodes tell a new pod from what is outside while
 * nobody tells of new ones. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "findings.h"
#include "json.h"
#include "kube_kinds.h"
#include "net/cidr.h"
#include "precheck.h"

#define VARIABLE   "CULVERT_POD_RANGES"
#define SEPARATORS ", "

/** struct outside - pods whose addresses nobody has announced. */
struct outside {
	size_t n, of;
	const json_t *pod; /* one of them */
};

/* What the control plane that is to be is told. Return: NULL: none is among @objects. */
static const char *ranges_set(const json_t *objects)
{
	const json_t *one, *env, *containers;
	size_t i, k;

	json_array_foreach (objects, i, one) {
		const char *app = kube_meta(one, "labels", "app");

		if (!streq(json_text(one, "kind", ""), "Deployment") || !app ||
		    !streq(app, "istiod"))
			continue;
		containers = json_object_get(
			json_object_get(json_object_get(json_object_get(one, "spec"), "template"),
					"spec"),
			"containers");
		json_array_foreach (json_object_get(json_array_get(containers, 0), "env"), k, env)
			if (streq(json_text(env, "name", ""), VARIABLE))
				return json_text(env, "value", "");
		return "";
	}
	return NULL;
}

static bool range_has(const char *range, const struct cv_addr *addr)
{
	struct cidr c;

	return range && cidr_parse(range, &c) == 0 && cidr_contains(&c, addr);
}

static bool set_has(const char *set, const struct cv_addr *addr)
{
	_cleanup_(freep) char *copy = strdup(set);
	bool is_in = !copy; /* no memory: nothing is said */
	char *rest = copy, *one;

	while (!is_in && (one = strsep(&rest, SEPARATORS)))
		is_in = range_has(one, addr);
	return is_in;
}

static bool nodes_have(const json_t *nodes, const struct cv_addr *addr)
{
	const json_t *node, *one;
	size_t i, k;

	json_array_foreach (nodes, i, node) {
		const json_t *spec = json_object_get(node, "spec");

		if (range_has(json_text(spec, "podCIDR", NULL), addr))
			return true;
		json_array_foreach (json_object_get(spec, "podCIDRs"), k, one)
			if (range_has(json_string_value(one), addr))
				return true;
	}
	return false;
}

static void pod_check(const json_t *pod, const json_t *nodes, const char *set, struct outside *ret)
{
	const char *ip = json_text(json_object_get(pod, "status"), "podIP", "");
	struct cv_addr addr;

	/* those in the node's own network have its address */
	if (json_is_true(json_object_get(json_object_get(pod, "spec"), "hostNetwork")) ||
	    cv_addr_parse(ip, &addr) < 0)
		return;
	ret->of++;
	if (set_has(set, &addr) || nodes_have(nodes, &addr))
		return;
	ret->n++;
	ret->pod = pod;
}

static bool any_node_says(const json_t *nodes)
{
	const json_t *node;
	size_t i;

	json_array_foreach (nodes, i, node) {
		const json_t *spec = json_object_get(node, "spec");

		if (json_object_get(spec, "podCIDR") ||
		    json_array_size(json_object_get(spec, "podCIDRs")) > 0)
			return true;
	}
	return json_array_size(nodes) == 0;
}

void precheck_ranges(const json_t *nodes, const json_t *pods, const json_t *objects, json_t *list)
{
	static const struct finding f = {FINDING_WARNING, "CUL0009", "Nodes", NULL};
	const char *set = ranges_set(objects);
	struct outside out = {0};
	const json_t *pod;
	size_t i;

	if (!set)
		return;
	json_array_foreach (pods, i, pod)
		pod_check(pod, nodes, set, &out);
	if (out.n > 0)
		findings_add(
			list, &f,
			"%zu of %zu pods looked at have an address, as %s/%s has %s, that is in "
			"no Node's spec.podCIDRs and not in values.pilot.podRanges: such a pod, "
			"when it is new, is dialled in plaintext while a node's agent or control "
			"plane is away; set values.pilot.podRanges to what pods have",
			out.n, out.of, kube_ns(out.pod), kube_name(out.pod),
			json_text(json_object_get(out.pod, "status"), "podIP", ""));
	else if (!*set && !any_node_says(nodes))
		findings_add(
			list, &f,
			"no Node has spec.podCIDRs, and values.pilot.podRanges is not set: a new "
			"pod is dialled in plaintext while a node's agent or control plane is "
			"away; set values.pilot.podRanges to what pods have");
}

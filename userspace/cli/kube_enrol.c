/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_enrol.h"

#include "base/cleanup.h"
#include "kube_kinds.h"

static int object_of(json_t *body, const char *kind, struct object **ret)
{
	if (!json_object_get(body, "kind") &&
	    json_object_set_new(body, "kind", json_string(kind)) < 0)
		return -1;
	return object_new_json(json_incref(body), ret);
}

struct enrol_decision kube_enrol(json_t *pod, json_t *ns)
{
	_cleanup_(json_decrefp) json_t *any = pod ? json_incref(pod)
						  : json_pack("{s:{s:s,s:s}}", "metadata", "name",
							      "any", "namespace", kube_name(ns));
	_cleanup_(object_unrefp) struct object *p = NULL, *n = NULL;

	if (!any || object_of(any, "Pod", &p) < 0 || (ns && object_of(ns, "Namespace", &n) < 0))
		return (struct enrol_decision){.verdict = ENROL_NO_LABEL, .because = ""};
	return enrol_decide(p, n);
}

bool kube_enrol_mistake(json_t *ns, size_t i, char *ret, size_t size)
{
	_cleanup_(object_unrefp) struct object *n = NULL;

	return object_of(ns, "Namespace", &n) == 0 && enrol_mistake(n, i, ret, size);
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* enrol - is a pod in the mesh? A pure function of the pod and its namespace (DESIGN 10). */
#include <stdbool.h>

#include "source/object.h"

enum enrol_verdict {
	ENROL_NO_LABEL,     /* neither pod nor namespace asks for it */
	ENROL_NO_POD_LABEL, /* the pod says no */
	ENROL_NO_NAMESPACE, /* the namespace says no, the pod nothing */
	ENROL_NO_HOST_NETWORK,
	ENROL_NO_SIDECAR, /* annotation sidecar.istio.io/status: the pod has a proxy of its own */
	ENROL_NO_KUBE_SYSTEM,
	ENROL_YES_POD,       /* the pod asks for it */
	ENROL_YES_NAMESPACE, /* the namespace asks for it */
	ENROL_VERDICT_MAX,
};

/** struct enrol_decision - the verdict, and the label, annotation or field that decided ("" when
 * none did). */
struct enrol_decision {
	enum enrol_verdict verdict;
	const char *because; /* "istio-injection=enabled"; static, or valid as long as the object
				that it came from */
	char reason[160];    /* a sentence: "namespace label istio-injection=enabled" */
};

/**
 * enrol_decide() - decide
 * @pod: a Pod (or anything with metadata and spec.hostNetwork).
 * @ns:  its Namespace object, or NULL when there is none: then it has no labels.
 */
struct enrol_decision enrol_decide(const struct object *pod, const struct object *ns);

/**
 * enrol_mistake() - a label that would say whether pods are in the mesh, but for its value: to who
 * wrote it, it looks as if it did
 * @o: a Pod or a Namespace. @i: 0 for the first of its mistakes, and so on.
 * @ret: a sentence that names the label and what was expected. Return: false: there is none.
 */
bool enrol_mistake(const struct object *o, size_t i, char *ret, size_t size);

/** enrol_namespace_is_yes() - does a namespace enrol its pods? */
bool enrol_namespace_is_yes(const struct object *ns);

static inline bool enrol_is_yes(enum enrol_verdict v)
{
	return v == ENROL_YES_POD || v == ENROL_YES_NAMESPACE;
}

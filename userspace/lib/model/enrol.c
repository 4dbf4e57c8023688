/* SPDX-License-Identifier: Apache-2.0 */
#include "model/enrol.h"

#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "source/pod_facts.h"

enum scope {
	SCOPE_NAMESPACE = 1,
	SCOPE_POD = 2,
	SCOPE_POD_ANNOTATION = 4,
};

/* Every spelling, one vote each. A value that is neither is no vote. */
static const struct spelling {
	const char *key, *yes, *no; /* yes "*": any value */
	unsigned int scopes;
	const char *text_yes, *text_no;
} spellings[] = {
	{"culvert.io/mesh", "enabled", "disabled", SCOPE_NAMESPACE | SCOPE_POD,
	 "culvert.io/mesh=enabled", "culvert.io/mesh=disabled"},
	{"istio-injection", "enabled", "disabled", SCOPE_NAMESPACE, "istio-injection=enabled",
	 "istio-injection=disabled"},
	{"istio.io/dataplane-mode", "ambient", "none", SCOPE_NAMESPACE | SCOPE_POD,
	 "istio.io/dataplane-mode=ambient", "istio.io/dataplane-mode=none"},
	{"sidecar.istio.io/inject", "true", "false", SCOPE_POD | SCOPE_POD_ANNOTATION,
	 "sidecar.istio.io/inject=true", "sidecar.istio.io/inject=false"},
	{"istio.io/rev", "*", NULL, SCOPE_NAMESPACE | SCOPE_POD, "istio.io/rev", NULL},
};

/** struct vote - what a scope says: -1 no, 0 nothing, 1 yes; and by which spelling. */
struct vote {
	int says;
	const char *because;
};

static int spelling_vote(const struct spelling *s, const char *value)
{
	if (!value)
		return 0;
	if (s->no && streq(value, s->no))
		return -1;
	return streq(s->yes, "*") || streq(value, s->yes);
}

static void vote_count(struct vote *v, const struct spelling *s, const char *value)
{
	int one = spelling_vote(s, value);

	/* Any no wins; of several that say the same the first is named. */
	if (one == 0 || v->says == -1 || (one == 1 && v->says == 1))
		return;
	v->says = one;
	v->because = one > 0 ? s->text_yes : s->text_no;
}

static struct vote scope_vote(const struct object *o, unsigned int scopes)
{
	struct vote v = {.because = ""};

	for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
		const struct spelling *s = &spellings[i];

		if (s->scopes & scopes & ~(unsigned int)SCOPE_POD_ANNOTATION)
			vote_count(&v, s, object_label(o, s->key));
		if (s->scopes & scopes & SCOPE_POD_ANNOTATION)
			vote_count(&v, s, object_annotation(o, s->key));
	}
	return v;
}

static struct enrol_decision decision(enum enrol_verdict verdict, const char *because,
				      const char *fmt)
{
	struct enrol_decision d = {.verdict = verdict, .because = because};

	(void)snprintf(d.reason, sizeof(d.reason), fmt, because);
	return d;
}

/* Pods that are never enrolled, whatever their labels say. Return: false when @pod is none of them.
 */
static bool decide_never(const struct object *pod, struct enrol_decision *ret)
{
	bool is_host_network = pod->pod ? pod->pod->is_host_network
					: json_is_true(object_value(pod, "spec.hostNetwork"));

	if (is_host_network)
		*ret = decision(ENROL_NO_HOST_NETWORK, "spec.hostNetwork",
				"the pod is in the node's network (%s)");
	else if (object_annotation(pod, "sidecar.istio.io/status"))
		*ret = decision(ENROL_NO_SIDECAR, "sidecar.istio.io/status",
				"the pod has a sidecar (annotation %s)");
	else if (streq(pod->namespace_, "kube-system"))
		*ret = decision(ENROL_NO_KUBE_SYSTEM, "kube-system",
				"namespace %s is never enrolled");
	else
		return false;
	return true;
}

struct enrol_decision enrol_decide(const struct object *pod, const struct object *ns)
{
	struct enrol_decision d;
	struct vote v;

	if (decide_never(pod, &d))
		return d;
	v = scope_vote(pod, SCOPE_POD | SCOPE_POD_ANNOTATION);
	if (v.says > 0)
		return decision(ENROL_YES_POD, v.because, "pod label %s");
	if (v.says < 0)
		return decision(ENROL_NO_POD_LABEL, v.because, "pod label %s");
	v = scope_vote(ns, SCOPE_NAMESPACE);
	if (v.says > 0)
		return decision(ENROL_YES_NAMESPACE, v.because, "namespace label %s");
	if (v.says < 0)
		return decision(ENROL_NO_NAMESPACE, v.because, "namespace label %s");
	return decision(ENROL_NO_LABEL, "",
			"neither the pod nor its namespace has a label that enrols it%s");
}

bool enrol_namespace_is_yes(const struct object *ns)
{
	return scope_vote(ns, SCOPE_NAMESPACE).says > 0;
}

/* The installation's own word, for a moment: agents let go of all pods. */
static bool is_release(const struct object *o, const char *key, const char *value)
{
	return streq(o->name, "istio-system") && streq(key, "culvert.io/mesh") &&
	       streq(value, "released");
}

bool enrol_mistake(const struct object *o, size_t i, char *ret, size_t size)
{
	unsigned int scope = streq(o->kind, "Pod") ? SCOPE_POD : SCOPE_NAMESPACE;

	for (size_t k = 0; k < ARRAY_SIZE(spellings); k++) {
		const struct spelling *s = &spellings[k];
		const char *value = s->scopes & scope ? object_label(o, s->key) : NULL;

		if (!value || spelling_vote(s, value) != 0 || is_release(o, s->key, value) ||
		    i-- > 0)
			continue;
		(void)snprintf(ret, size, "label %s=%s means nothing: %s or %s was expected",
			       s->key, value, s->yes, s->no);
		return true;
	}
	return false;
}

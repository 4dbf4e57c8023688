/* SPDX-License-Identifier: Apache-2.0 */
/* enrol - every spelling of yes and no, and who beats whom. */
#include "model/enrol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct object *make(const char *kind, const char *ns, const char *metadata, const char *spec)
{
	struct object *o = NULL;
	json_t *meta = json_loads(metadata, 0, NULL), *body;

	assert_non_null(meta);
	(void)json_object_set_new(meta, "name", json_string("x"));
	(void)json_object_set_new(meta, "namespace", json_string(ns));
	body = json_pack("{s:s,s:o,s:o}", "kind", kind, "metadata", meta, "spec",
			 json_loads(spec, 0, NULL));
	assert_int_equal(object_new_json(body, &o), 0);
	return o;
}

#define NONE               "{}"
#define L(k, v)            "{\"labels\":{\"" k "\":\"" v "\"}}"
#define L2(k1, v1, k2, v2) "{\"labels\":{\"" k1 "\":\"" v1 "\",\"" k2 "\":\"" v2 "\"}}"
#define A(k, v)            "{\"annotations\":{\"" k "\":\"" v "\"}}"

static const struct {
	const char *pod, *ns;
	enum enrol_verdict want;
	const char *because;
} cases[] = {
	{NONE, NONE, ENROL_NO_LABEL, ""},
	{NONE, L("istio-injection", "enabled"), ENROL_YES_NAMESPACE, "istio-injection=enabled"},
	{NONE, L("istio.io/dataplane-mode", "ambient"), ENROL_YES_NAMESPACE,
	 "istio.io/dataplane-mode=ambient"},
	{NONE, L("culvert.io/mesh", "enabled"), ENROL_YES_NAMESPACE, "culvert.io/mesh=enabled"},
	{NONE, L("istio.io/rev", "anything"), ENROL_YES_NAMESPACE, "istio.io/rev"},
	{NONE, L("istio-injection", "disabled"), ENROL_NO_NAMESPACE, "istio-injection=disabled"},
	{NONE, L("istio-injection", "Enabled"), ENROL_NO_LABEL, ""},
	{NONE, L("istio-injection", ""), ENROL_NO_LABEL, ""},
	{NONE, L("sidecar.istio.io/inject", "true"), ENROL_NO_LABEL, ""},
	{NONE, A("istio-injection", "enabled"), ENROL_NO_LABEL, ""},
	/* one scope: any no wins */
	{NONE, L2("istio-injection", "enabled", "culvert.io/mesh", "disabled"), ENROL_NO_NAMESPACE,
	 "culvert.io/mesh=disabled"},
	{NONE, L2("istio.io/rev", "x", "istio.io/dataplane-mode", "none"), ENROL_NO_NAMESPACE,
	 "istio.io/dataplane-mode=none"},
	{L2("sidecar.istio.io/inject", "false", "istio.io/dataplane-mode", "ambient"), NONE,
	 ENROL_NO_POD_LABEL, "sidecar.istio.io/inject=false"},
	/* the pod beats its namespace */
	{L("sidecar.istio.io/inject", "false"), L("istio-injection", "enabled"), ENROL_NO_POD_LABEL,
	 "sidecar.istio.io/inject=false"},
	{A("sidecar.istio.io/inject", "false"), L("istio-injection", "enabled"), ENROL_NO_POD_LABEL,
	 "sidecar.istio.io/inject=false"},
	{L("istio.io/dataplane-mode", "none"), L("istio-injection", "enabled"), ENROL_NO_POD_LABEL,
	 "istio.io/dataplane-mode=none"},
	{L("sidecar.istio.io/inject", "true"), L("istio-injection", "disabled"), ENROL_YES_POD,
	 "sidecar.istio.io/inject=true"},
	{L("culvert.io/mesh", "enabled"), NONE, ENROL_YES_POD, "culvert.io/mesh=enabled"},
	{L("istio.io/rev", "x"), NONE, ENROL_YES_POD, "istio.io/rev"},
	/* on a pod this spelling says nothing */
	{L("istio-injection", "enabled"), NONE, ENROL_NO_LABEL, ""},
};

static void labels_decide(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct object *pod = make("Pod", "demo", cases[i].pod, "{}");
		struct object *ns = make("Namespace", "", cases[i].ns, "{}");
		struct enrol_decision d = enrol_decide(pod, ns);

		if (d.verdict != cases[i].want || strcmp(d.because, cases[i].because) != 0)
			fail_msg("case %zu: %d %s (%s)", i, d.verdict, d.because, d.reason);
		assert_true(strlen(d.reason) > 0);
		(void)object_unref(pod);
		(void)object_unref(ns);
	}
}

static void some_pods_are_never_enrolled(void **state)
{
	static const struct {
		const char *ns, *metadata, *spec;
		enum enrol_verdict want;
	} never[] = {
		{"demo", L("culvert.io/mesh", "enabled"), "{\"hostNetwork\":true}",
		 ENROL_NO_HOST_NETWORK},
		{"demo", A("sidecar.istio.io/status", "{}"), "{}", ENROL_NO_SIDECAR},
		{"kube-system", L("culvert.io/mesh", "enabled"), "{}", ENROL_NO_KUBE_SYSTEM},
	};
	struct object *ns = make("Namespace", "", L("istio-injection", "enabled"), "{}");

	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		struct object *pod = make("Pod", never[i].ns, never[i].metadata, never[i].spec);
		struct enrol_decision d = enrol_decide(pod, ns);

		assert_int_equal(d.verdict, never[i].want);
		assert_false(enrol_is_yes(d.verdict));
		(void)object_unref(pod);
	}
	(void)object_unref(ns);
}

static void a_missing_namespace_has_no_labels(void **state)
{
	struct object *pod = make("Pod", "demo", NONE, "{}");

	assert_int_equal(enrol_decide(pod, NULL).verdict, ENROL_NO_LABEL);
	(void)object_unref(pod);
}

static void a_value_that_means_nothing_is_named(void **state)
{
	static const struct {
		const char *kind, *labels, *want; /* NULL: no mistake */
	} tries[] = {
		{"Namespace", L("istio-injection", "true"),
		 "label istio-injection=true means nothing: enabled or disabled was expected"},
		{"Pod", L2("istio-injection", "true", "sidecar.istio.io/inject", "no"),
		 "label sidecar.istio.io/inject=no means nothing: true or false was expected"},
		{"Namespace", L2("istio-injection", "disabled", "istio.io/rev", "anything"), NULL},
		{"Namespace", L("istio.io/dataplane-mode", "ambient"), NULL},
		{"Namespace", L("culvert.io/mesh", "released"),
		 "label culvert.io/mesh=released means nothing: enabled or disabled was expected"},
		{"Pod", NONE, NULL},
	};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		struct object *o = make(tries[i].kind, "demo", tries[i].labels, NONE);

		assert_int_equal(enrol_mistake(o, 0, text, sizeof(text)), tries[i].want != NULL);
		if (tries[i].want)
			assert_string_equal(text, tries[i].want);
		assert_false(enrol_mistake(o, 1, text, sizeof(text)));
		object_unref(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_decide),
		cmocka_unit_test(some_pods_are_never_enrolled),
		cmocka_unit_test(a_missing_namespace_has_no_labels),
		cmocka_unit_test(a_value_that_means_nothing_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

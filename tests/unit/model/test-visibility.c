/* SPDX-License-Identifier: Apache-2.0 */
/* visibility - MeshConfig's serviceEntryVisibility: what the administrator of the mesh lets a
 * namespace publish, whatever its ServiceEntries say. */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/macros.h"
#include "tests/unit/model/fixture.h"

#define API  "demo/api.example.com"
#define API2 "trusted/api.example.com"
#define ENTRY(ns, more)                                                                            \
	"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api, "           \
	"namespace: " ns                                                                           \
	"}\nspec: {hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}], "   \
	"resolution: STATIC, endpoints: [{address: 192.0.2.7}]" more "}\n---\n"
#define RULE(selector) "{'namespaceSelector': " selector "}"
#define POLICIES(visibility, rules)                                                                \
	"{'defaultVisibility': 'NAMESPACE', 'policies': [{'visibility': '" visibility              \
	"', 'matchingRules': [" rules "]}]}"

enum { GONE = -1, PUBLIC, HOME };

/* @text: JSON with ' for ". */
static void set_rules(struct fixture *f, const char *text)
{
	_cleanup_(freep) char *copy = strdup(text);
	_cleanup_(json_decrefp) json_t *rules = NULL;

	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	rules = json_loads(copy, 0, NULL);
	assert_non_null(rules);
	f->text[0] = '\0';
	model_set_entry_visibility(f->model, rules);
	assert_int_equal(model_flush(f->model), 0);
}

static int seen(struct fixture *f, const char *name)
{
	const Istio__Workload__Service *s = service(f, name);

	if (!s)
		return GONE;
	return s->visibility == ISTIO__WORKLOAD__VISIBILITY__NAMESPACE ? HOME : PUBLIC;
}

static void the_first_policy_that_matches_counts_else_the_default(void **state)
{
	static const struct {
		const char *rules;
		int seen;
	} cases[] = {
		{"{}", PUBLIC},
		{"{'defaultVisibility': 'PUBLIC'}", PUBLIC},
		{"{'defaultVisibility': 'NAMESPACE'}", HOME},
		{"{'defaultVisibility': 'NONE'}", GONE},
		{POLICIES("PUBLIC", RULE("{'matchLabels': {'team': 'a'}}")), PUBLIC},
		{POLICIES("PUBLIC", RULE("{'matchLabels': {'team': 'b'}}")), HOME},
		{POLICIES("PUBLIC",
			  RULE("{'matchLabels': {'kubernetes.io/metadata.name': 'demo'}}")),
		 PUBLIC},
		{POLICIES("PUBLIC", ""), PUBLIC},
		{POLICIES("NONE", RULE("{}")), GONE},
		/* all of its rules, and one that says nothing matches nothing */
		{POLICIES("PUBLIC", RULE("{}") "," RULE("{'matchLabels': {'team': 'b'}}")), HOME},
		{POLICIES("PUBLIC", "{}"), HOME},
		{POLICIES("PUBLIC", RULE("null")), HOME},
		/* nor one that Kubernetes would not take */
		{POLICIES("PUBLIC",
			  RULE("{'matchExpressions': [{'key': 'x', 'operator': 'NotIn'}]}")),
		 HOME},
		{POLICIES("PUBLIC",
			  RULE("{'matchExpressions': [{'key': 'x', 'operator': 'DoesNotExist'}]}")),
		 PUBLIC},
		{"{'policies': [{'visibility': 'NONE', 'matchingRules': [{'namespaceSelector': "
		 "{'matchLabels': {'team': 'b'}}}]}, {'visibility': 'NAMESPACE'}, {'visibility': "
		 "'NONE'}]}",
		 HOME},
	};
	struct fixture *f = *state;

	(void)put(f, NS("demo", "{team: a}") ENTRY("demo", ""));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		set_rules(f, cases[i].rules);
		if (seen(f, API) != cases[i].seen)
			fail_msg("%zu: %d", i, seen(f, API));
	}
	model_set_entry_visibility(f->model, NULL);
	assert_int_equal(model_flush(f->model), 0);
	assert_int_equal(seen(f, API), PUBLIC);
}

static void export_to_counts_within_it(void **state)
{
	static const struct {
		const char *yaml;
		int seen;
	} cases[] = {
		{ENTRY("demo", ""), HOME},
		{ENTRY("demo", ", exportTo: ['*']"), HOME},
		{ENTRY("demo", ", exportTo: [other, demo]"), HOME},
		{ENTRY("demo", ", exportTo: [.]"), HOME},
		/* only others were to see it, and they may not */
		{ENTRY("demo", ", exportTo: [other]"), GONE},
		{ENTRY("demo", ", exportTo: ['~']"), GONE},
	};
	struct fixture *f = *state;

	set_rules(f, "{'defaultVisibility': 'NAMESPACE'}");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)put(f, cases[i].yaml);
		if (seen(f, API) != cases[i].seen)
			fail_msg("%zu: %d", i, seen(f, API));
		if (seen(f, API) == HOME)
			assert_int_equal(service(f, API)->n_extensions, 0);
	}
	set_rules(f, "{'defaultVisibility': 'PUBLIC'}");
	(void)put(f, ENTRY("demo", ", exportTo: [.]"));
	assert_int_equal(seen(f, API), HOME);
}

static void labels_of_a_namespace_count_as_they_change(void **state)
{
	struct fixture *f = *state;

	set_rules(f, POLICIES("PUBLIC", RULE("{'matchLabels': {'trusted': 'yes'}}")));
	(void)put(f, ENTRY("demo", "") ENTRY("trusted", "") NS("trusted", "{trusted: 'yes'}"));
	assert_int_equal(seen(f, API), HOME);
	assert_int_equal(seen(f, API2), PUBLIC);
	assert_string_equal(put(f, NS("trusted", "{}")), "+" API2 "\n");
	assert_int_equal(seen(f, API2), HOME);
	assert_string_equal(put(f, NS("demo", "{trusted: 'yes'}")), "+" API "\n");
	assert_int_equal(seen(f, API), PUBLIC);
	assert_string_equal(drop(f, "Namespace", "", "demo"), "+" API "\n");
	assert_int_equal(seen(f, API), HOME);
}

static void none_sends_nothing_and_is_told(void **state)
{
	struct fixture *f = *state;

	(void)put(f,
		  "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: pods, "
		  "namespace: demo}\nspec: {hosts: [api.example.com], ports: [{number: 443, name: "
		  "tls, protocol: TLS}], resolution: STATIC, workloadSelector: {labels: {app: "
		  "a}}}\n---\n" POD("demo", "a", "{app: a}", "{nodeName: n1}",
				    "{podIP: 10.1.0.1, phase: Running}"));
	assert_int_equal(workload(f, "demo/a")->n_services, 1);
	(void)put(f, ENTRY("other", ""));
	set_rules(f, "{'defaultVisibility': 'NONE'}");
	assert_int_equal(workload(f, "demo/a")->n_services, 0);
	assert_non_null(strstr(f->text, "-" API "\n"));
	assert_non_null(strstr(f->text, "-other/api.example.com\n"));
	assert_non_null(strstr(
		f->text, "-Kubernetes/networking.istio.io/ServiceEntry/other/api/192.0.2.7\n"));
	assert_non_null(strstr(f->text, "seen by nobody: serviceEntryVisibility"));
	/* the same again is no change */
	set_rules(f, "{'defaultVisibility': 'NONE'}");
	assert_string_equal(f->text, "");
	set_rules(f, "{'defaultVisibility': 'PUBLIC'}");
	assert_int_equal(seen(f, API), PUBLIC);
	assert_int_equal(workload(f, "demo/a")->n_services, 1);
	assert_non_null(strstr(f->text, "cleared ServiceEntry other/api"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_first_policy_that_matches_counts_else_the_default),
		T(export_to_counts_within_it),
		T(labels_of_a_namespace_count_as_they_change),
		T(none_sends_nothing_and_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

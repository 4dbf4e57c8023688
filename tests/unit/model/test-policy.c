/* SPDX-License-Identifier: Apache-2.0 */
/* policy, match - AuthorizationPolicies as Istio's control plane converts them; what cannot be
 * understood denies. */
#include "tests/unit/model/show.h"
#include "xds/types.h"

static const struct {
	const char *spec, *want;
} cases[] = {
	{"{}", "ALLOW ns:"},
	{"{rules: [{}]}", "ALLOW ns: any"},
	{"{action: DENY, rules: [{}]}", "DENY ns: any"},
	{"{rules: [{from: [{source: {principals: [td/ns/a/sa/b]}}]}]}",
	 "ALLOW ns: id=td/ns/a/sa/b"},
	{"{rules: [{from: [{source: {principals: ['*', '*/sa/b', 'td/*']}}]}]}",
	 "ALLOW ns: id=* id$/sa/b id^td/"},
	{"{rules: [{from: [{source: {notPrincipals: [x], namespaces: [a], notNamespaces: "
	 "[b*]}}]}]}",
	 "ALLOW ns: ns=a !ns^b !id=x"},
	{"{rules: [{from: [{source: {ipBlocks: [10.0.0.0/8, 10.1.1.1], notIpBlocks: ['fd00::/64', "
	 "'::/0']}}]}]}",
	 "ALLOW ns: src=10.0.0.0/8 src=10.1.1.1/32 !src=fd00::/64 !src=::/0"},
	{"{rules: [{from: [{source: {namespaces: [a]}}, {source: {namespaces: [b]}}]}]}",
	 "ALLOW ns: ns=a + ns=b"},
	{"{rules: [{from: [{source: {namespaces: [a]}}]}, {from: [{source: {namespaces: [b]}}]}]}",
	 "ALLOW ns: ns=a | ns=b"},
	{"{rules: [{from: [{source: {namespaces: [a]}}], to: [{operation: {ports: ['80', '81'], "
	 "notPorts: ['82']}}]}]}",
	 "ALLOW ns: port=80 port=81 !port=82 & ns=a"},
	{"{rules: [{from: [{source: {serviceAccounts: [me, other/you]}}]}]}",
	 "ALLOW ns: sa=demo/me sa=other/you"},
	{"{rules: [{from: [{source: {notServiceAccounts: [me]}}]}]}", "ALLOW ns: !sa=demo/me"},
	{"{rules: [{when: [{key: source.ip, values: [10.0.0.1], notValues: [10.0.0.2]}]}]}",
	 "ALLOW ns: src=10.0.0.1/32 !src=10.0.0.2/32"},
	{"{rules: [{when: [{key: source.namespace, values: [a]}, {key: source.principal, "
	 "notValues: ['*']}]}]}",
	 "ALLOW ns: ns=a & !id=*"},
	{"{rules: [{when: [{key: destination.ip, values: [10.0.0.0/8]}, {key: destination.port, "
	 "values: ['80']}]}]}",
	 "ALLOW ns: dst=10.0.0.0/8 & port=80"},
	{"{rules: [{when: [{key: source.serviceAccount, values: [a/b]}]}]}", "ALLOW ns: sa=a/b"},
	{"{selector: {matchLabels: {app: a}}, rules: [{}]}", "ALLOW selector: any"},
	{"{selector: {}, rules: [{}]}", "ALLOW selector: any"},
	/* an empty list says nothing, neither nobody nor everybody */
	{"{rules: []}", "ALLOW ns:"},
	{"{rules: [{from: [], to: [], when: []}]}", "ALLOW ns: any"},
	{"{rules: [{from: [], to: [{operation: {ports: ['80']}}], when: []}]}",
	 "ALLOW ns: port=80"},
	{"{action: DENY, rules: [{from: [{source: {namespaces: [a]}}], to: []}]}", "DENY ns: ns=a"},
	{"{rules: [{from: [{source: {namespaces: [demo], ipBlocks: [], notPrincipals: []}}]}]}",
	 "ALLOW ns: ns=demo"},
	{"{rules: [{to: [{operation: {ports: ['80'], notPorts: [], methods: []}}], from: [{source: "
	 "{notIpBlocks: [10.0.0.0/8], ipBlocks: [], trustDomains: []}}]}]}",
	 "ALLOW ns: port=80 & !src=10.0.0.0/8"},
	{"{rules: [{when: [{key: source.namespace, values: [], notValues: [a]}, {key: "
	 "destination.port, values: ['80'], notValues: []}]}]}",
	 "ALLOW ns: !ns=a & port=80"},
	/* layer 7 opens nothing ... */
	{"{rules: [{to: [{operation: {methods: [GET]}}]}]}", "ALLOW ns:"},
	{"{rules: [{to: [{operation: {methods: [GET], ports: ['80']}}]}]}", "ALLOW ns:"},
	{"{rules: [{from: [{source: {namespaces: [a], requestPrincipals: ['*']}}]}, {from: "
	 "[{source: {namespaces: [b]}}]}]}",
	 "ALLOW ns: ns=b"},
	{"{rules: [{from: [{source: {namespaces: [a]}}], when: [{key: 'request.headers[x]', "
	 "values: [y]}]}]}",
	 "ALLOW ns:"},
	/* ... nor does a trust domain, which ztunnels have no condition for ... */
	{"{rules: [{from: [{source: {trustDomains: [partner.example]}}]}, {from: [{source: "
	 "{namespaces: [demo]}}]}]}",
	 "ALLOW ns: ns=demo"},
	{"{rules: [{from: [{source: {namespaces: [a], notTrustDomains: ['*.example']}}, {source: "
	 "{namespaces: [b]}}]}]}",
	 "ALLOW ns:"},
	{"{action: DENY, rules: [{from: [{source: {namespaces: [a], notTrustDomains: [b]}}]}]}",
	 "DENY ns: ns=a"},
	{"{action: DENY, rules: [{from: [{source: {trustDomains: [partner.example]}}]}]}",
	 "DENY ns:"},
	{"{action: DENY, rules: [{from: [{source: {trustDomains: [a]}}], to: [{operation: {ports: "
	 "['80']}}]}]}",
	 "DENY ns: port=80"},
	/* ... and in a DENY leaves the rest */
	{"{action: DENY, rules: [{from: [{source: {namespaces: [a]}}], to: [{operation: {methods: "
	 "[GET]}}]}]}",
	 "DENY ns: ns=a"},
	{"{action: DENY, rules: [{to: [{operation: {methods: [GET], ports: ['80']}}]}]}",
	 "DENY ns: port=80"},
	{"{action: DENY, rules: [{from: [{source: {namespaces: [a]}}], when: [{key: remote.ip, "
	 "values: [10.0.0.1]}]}]}",
	 "DENY ns: ns=a"},
	{"{action: DENY, rules: [{from: [{source: {namespaces: [a]}}], to: [{operation: {paths: "
	 "[/x]}}, {operation: "
	 "{ports: ['80']}}]}]}",
	 "DENY ns: ns=a"},
	{"{action: DENY, rules: [{to: [{operation: {paths: [/x]}}, {operation: {ports: "
	 "['80']}}]}]}",
	 "DENY ns: port=80"},
	{"{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}", "DENY ns:"},
	{"{action: DENY, rules: [{to: [{operation: {hosts: [x]}}]}, {from: [{source: {namespaces: "
	 "[a]}}]}]}",
	 "DENY ns: ns=a"},
};

static void conversion(void **state)
{
	struct fixture *f = *state;
	char yaml[1024];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *got;

		(void)snprintf(yaml, sizeof(yaml), POLICY("demo", "p", "%s"), cases[i].spec);
		(void)put(f, yaml);
		got = show(authorization(f, "demo/p"));
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("case %zu: wanted \"%s\", got \"%s\"", i, cases[i].want, got);
	}
}

static void scope_comes_from_namespace_and_selector(void **state)
{
	struct fixture *f = *state;

	(void)put(f, POLICY("istio-system", "p", "{action: DENY, rules: [{}]}"));
	assert_string_equal(show(authorization(f, "istio-system/p")), "DENY global: any");
	(void)put(f, POLICY("istio-system", "p",
			    "{selector: {matchLabels: {a: b}}, action: DENY, rules: [{}]}"));
	assert_string_equal(show(authorization(f, "istio-system/p")), "DENY selector: any");
}

/* The trust domain of the fixture is cluster.local, which also stands for whatever ours is called.
 */
static void principals_are_meant_under_each_name_of_the_trust_domain(void **state)
{
	static const char *const names[] = {"new.example", "old.example"};
	static const struct {
		const char *principals, *want;
	} of[] = {
		{"[cluster.local/ns/a/sa/b]",
		 "id=cluster.local/ns/a/sa/b id=new.example/ns/a/sa/b id=old.example/ns/a/sa/b"},
		{"[old.example/ns/a/sa/b]",
		 "id=cluster.local/ns/a/sa/b id=new.example/ns/a/sa/b id=old.example/ns/a/sa/b"},
		{"['old.example/ns/a/sa/*']",
		 "id^cluster.local/ns/a/sa/ id^new.example/ns/a/sa/ id^old.example/ns/a/sa/"},
		{"['*.example/ns/a/sa/b']", "id=cluster.local/ns/a/sa/b id$.example/ns/a/sa/b"},
		{"['*/ns/a/sa/b', '*', 'old.example/*']", "id$/ns/a/sa/b id=* id^old.example/"},
		{"[else.where/ns/a/sa/b]", "id=else.where/ns/a/sa/b"},
	};
	struct fixture *f = *state;

	assert_int_equal(model_set_trust_domain_aliases(f->model, names, 2), 0);
	for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
		char yaml[512], want[512];

		(void)snprintf(
			yaml, sizeof(yaml),
			POLICY("demo", "p", "{rules: [{from: [{source: {principals: %s}}]}]}"),
			of[i].principals);
		(void)snprintf(want, sizeof(want), "ALLOW ns: %s", of[i].want);
		(void)put(f, yaml);
		assert_string_equal(show(authorization(f, "demo/p")), want);
	}
	(void)put(f, POLICY("demo", "p",
			    "{action: DENY, rules: [{from: [{source: {notPrincipals: "
			    "[old.example/ns/a/sa/b]}}]}]}"));
	assert_int_equal(model_set_trust_domain_aliases(f->model, names + 1, 1), 0);
	assert_int_equal(model_flush(f->model), 0);
	assert_string_equal(show(authorization(f, "demo/p")),
			    "DENY ns: !id=cluster.local/ns/a/sa/b !id=old.example/ns/a/sa/b");
	assert_int_equal(model_set_trust_domain_aliases(f->model, NULL, 0), 0);
	assert_int_equal(model_flush(f->model), 0);
	assert_string_equal(show(authorization(f, "demo/p")), "DENY ns: !id=old.example/ns/a/sa/b");
}

static void dry_run_is_carried(void **state)
{
	struct fixture *f = *state;

	(void)put(f,
		  "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: "
		  "p, namespace: demo, "
		  "annotations: {istio.io/dry-run: 'true'}}\nspec: {action: DENY, rules: [{}]}\n");
	assert_true(authorization(f, "demo/p")->dry_run);
}

/* A ztunnel that knows no AUDIT sees a DENY that matches nothing. */
static void audit_travels_in_an_extension(void **state)
{
	const Istio__Security__Authorization *outer;
	Istio__Security__Authorization *inner;
	struct fixture *f = *state;

	(void)put(f, POLICY("demo", "p",
			    "{action: AUDIT, rules: [{from: [{source: {namespaces: [a], "
			    "requestPrincipals: [x]}}]}]}"));
	outer = authorization(f, "demo/p");
	assert_string_equal(show(outer), "DENY ns:");
	assert_int_equal(outer->n_extensions, 1);
	assert_string_equal(outer->extensions[0]->name, XDS_AUDIT_EXTENSION);
	inner = istio__security__authorization__unpack(NULL,
						       outer->extensions[0]->config->value.len,
						       outer->extensions[0]->config->value.data);
	assert_non_null(inner);
	assert_string_equal(show(inner), "DENY ns: ns=a");
	istio__security__authorization__free_unpacked(inner, NULL);
	assert_non_null(strstr(f->text, "the rule logs more than it says"));
}

static void workloads_name_the_policies_that_select_them(void **state)
{
	struct fixture *f = *state;

	(void)put(f, POD("demo", "p", "{app: a, v: '1'}", "{}", "{podIP: 10.0.0.1}")
			     POD("demo", "q", "{app: b}", "{}", "{podIP: 10.0.0.2}")
				     POD("other", "r", "{app: a}", "{}", "{podIP: 10.0.0.3}"));
	assert_string_equal(put(f, POLICY("demo", "one", "{selector: {matchLabels: {app: a}}}")),
			    "+demo/one\n+Kubernetes//Pod/demo/p\n");
	(void)put(f, POLICY("demo", "two", "{selector: {matchLabels: {app: a, v: '1'}}}")
			     POLICY("demo", "three", "{selector: {matchLabels: {app: a, v: '2'}}}")
				     POLICY("demo", "wide", "{}")
					     POLICY("istio-system", "root",
						    "{selector: {matchLabels: {app: a}}}"));
	assert_string_equal(names_of(f, "demo/p"), "demo/one demo/two istio-system/root");
	assert_string_equal(names_of(f, "demo/q"), "");
	assert_string_equal(names_of(f, "other/r"), "istio-system/root");
	(void)drop(f, "AuthorizationPolicy", "demo", "three");
	/* a label moves a pod under a policy */
	assert_string_equal(put(f, POD("demo", "q", "{app: a}", "{}", "{podIP: 10.0.0.2}")),
			    "+Kubernetes//Pod/demo/q\n");
	assert_string_equal(names_of(f, "demo/q"), "demo/one istio-system/root");
	/* the workloads let go of it before it goes */
	(void)drop(f, "AuthorizationPolicy", "demo", "one");
	assert_non_null(strstr(f->text, "+Kubernetes//Pod/demo/p\n"));
	assert_true(strstr(f->text, "-demo/one") > strstr(f->text, "+Kubernetes//Pod/demo/q"));
}

static void what_ztunnels_do_not_know_is_not_sent_but_told(void **state)
{
	static const struct {
		const char *spec, *warning;
	} unsent[] = {
		{"{action: CUSTOM, provider: {name: x}, rules: [{}]}",
		 "spec.action: CUSTOM is not enforced"},
		{"{targetRefs: [{kind: Gateway, name: w}], rules: [{}]}",
		 "spec: targetRefs are for waypoints"},
	};
	struct fixture *f = *state;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(unsent); i++) {
		(void)snprintf(yaml, sizeof(yaml), POLICY("demo", "p", "%s"), unsent[i].spec);
		(void)put(f, yaml);
		assert_null(authorization(f, "demo/p"));
		assert_non_null(strstr(f->text, unsent[i].warning));
	}
}

static void layer_7_is_told_with_its_line(void **state)
{
	struct fixture *f = *state;

	(void)put(f, "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: "
		     "{name: p, namespace: demo}\nspec:\n"
		     "  rules:\n  - to:\n    - operation:\n        ports: ['80']\n        methods: "
		     "[GET]\n");
	assert_non_null(strstr(f->text, "warning f.yaml:9: AuthorizationPolicy demo/p: "
					"spec.rules[0].to[0].operation.methods: "));
	(void)put(f, POLICY("demo", "p", "{rules: [{}]}"));
	assert_string_equal(f->text, "+demo/p\ncleared AuthorizationPolicy demo/p\n");
}

#define NOTHING    "denies nothing"
#define LESS       "denies less than it says"
#define MORE       "denies more than it says"
#define WITHOUT    ": layer 7 is seen by waypoints only: without one the rule "
#define PRINCIPALS ": ztunnels match principals (\"<trust domain>/*\"), not trustDomains: the rule "
#define DOMAINS    "spec.rules[0].from[0].source.trustDomains" PRINCIPALS
#define DOMAIN     "spec.rules[0].when[0].key" PRINCIPALS
#define PATHS      "spec.rules[0].to[0].operation.paths" WITHOUT

static void what_is_left_of_a_rule_that_is_seen_in_part_is_told(void **state)
{
	static const struct {
		const char *spec, *told[2];
	} rules[] = {
		{"{rules: [{to: [{operation: {paths: [/x]}}]}]}", {PATHS "allows nothing"}},
		{"{action: DENY, rules: [{to: [{operation: {paths: [/x]}}]}]}", {PATHS NOTHING}},
		{"{action: DENY, rules: [{to: [{operation: {paths: [/x]}}], when: [{key: "
		 "'request.headers[x]', values: [y]}]}]}",
		 {PATHS NOTHING, "spec.rules[0].when[0].key" WITHOUT NOTHING}},
		{"{action: DENY, rules: [{to: [{operation: {paths: [/x], ports: ['80']}}]}]}",
		 {PATHS MORE}},
		{"{action: DENY, rules: [{to: [{operation: {paths: [/x]}}], from: [{source: "
		 "{namespaces: [a]}}]}]}",
		 {PATHS MORE}},
		{"{action: DENY, rules: [{to: [{operation: {paths: [/x]}}, {operation: {ports: "
		 "['80']}}], from: [{source: {namespaces: [a]}}]}]}",
		 {PATHS MORE}},
		{"{action: DENY, rules: [{to: [{operation: {paths: [/x]}}, {operation: {ports: "
		 "['80']}}]}]}",
		 {PATHS LESS}},
		{"{action: DENY, rules: [{to: [{operation: {paths: [/x]}}, {operation: {ports: "
		 "['80'], methods: [GET]}}]}]}",
		 {PATHS LESS, "spec.rules[0].to[1].operation.methods" WITHOUT MORE}},
		/* who asks is left out altogether, what is asked for in part */
		{"{action: DENY, rules: [{to: [{operation: {paths: [/x]}}, {operation: {ports: "
		 "['80']}}], from: [{source: {requestPrincipals: ['*']}}]}]}",
		 {PATHS LESS, "spec.rules[0].from[0].source.requestPrincipals" WITHOUT MORE}},
		{"{action: AUDIT, rules: [{to: [{operation: {paths: [/x]}}]}]}",
		 {PATHS "logs nothing"}},
		{"{rules: [{from: [{source: {trustDomains: [a], requestPrincipals: ['*']}}]}]}",
		 {DOMAINS "allows nothing",
		  "spec.rules[0].from[0].source.requestPrincipals" WITHOUT "allows nothing"}},
		{"{action: DENY, rules: [{from: [{source: {trustDomains: [a]}}]}]}",
		 {DOMAINS NOTHING}},
		{"{action: DENY, rules: [{from: [{source: {trustDomains: [a], namespaces: "
		 "[b]}}]}]}",
		 {DOMAINS MORE}},
		{"{action: DENY, rules: [{from: [{source: {trustDomains: [a]}}, {source: "
		 "{namespaces: [b]}}]}]}",
		 {DOMAINS LESS}},
		{"{rules: [{when: [{key: source.trustDomain, values: [a]}]}]}",
		 {DOMAIN "allows nothing"}},
		{"{action: DENY, rules: [{when: [{key: source.trustDomain, values: [a]}], to: "
		 "[{operation: {ports: ['80']}}]}]}",
		 {DOMAIN MORE}},
	};
	struct fixture *f = *state;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		(void)drop(f, "AuthorizationPolicy", "demo", "p");
		(void)snprintf(yaml, sizeof(yaml), POLICY("demo", "p", "%s"), rules[i].spec);
		(void)put(f, yaml);
		for (size_t j = 0; j < 2 && rules[i].told[j]; j++)
			if (!strstr(f->text, rules[i].told[j]))
				fail_msg("case %zu: wanted \"%s\", got \"%s\"", i, rules[i].told[j],
					 f->text);
	}
}

static void every_field_of_layer_7_is_told(void **state)
{
	struct fixture *f = *state;

	(void)put(f, POLICY("demo", "p",
			    "{action: DENY, rules: [{to: [{operation: {ports: ['80'], methods: "
			    "[GET], paths: [/a]}}], from: [{source: {namespaces: [x], "
			    "requestPrincipals: ['*'], notRemoteIpBlocks: [10.0.0.0/8]}}]}]}"));
	assert_non_null(strstr(f->text, "spec.rules[0].to[0].operation.methods: "));
	assert_non_null(strstr(f->text, "spec.rules[0].to[0].operation.paths: "));
	assert_non_null(strstr(f->text, "spec.rules[0].from[0].source.requestPrincipals: "));
	assert_non_null(strstr(f->text, "spec.rules[0].from[0].source.notRemoteIpBlocks: "));
}

static void a_dry_run_is_asked_for_in_the_words_that_istio_reads(void **state)
{
	static const struct {
		const char *word;
		bool is_dry, is_told;
	} words[] = {
		{"true", true, false},   {"True", true, false}, {"1", true, false},
		{"false", false, false}, {"F", false, false},   {"yes", false, true},
		{"", false, true},
	};
	struct fixture *f = *state;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		(void)drop(f, "AuthorizationPolicy", "demo", "p");
		(void)snprintf(yaml, sizeof(yaml),
			       POLICY("demo", "p, annotations: {istio.io/dry-run: \"%s\"}",
				      "{action: DENY, rules: [{}]}"),
			       words[i].word);
		(void)put(f, yaml);
		if (authorization(f, "demo/p")->dry_run != words[i].is_dry ||
		    (strstr(f->text, "metadata.annotations[istio.io/dry-run]: neither true") !=
		     NULL) != words[i].is_told)
			fail_msg("%s: %s", words[i].word, f->text);
	}
}

static void what_cannot_be_understood_denies_all_of_its_scope(void **state)
{
	static const struct {
		const char *spec, *want;
	} broken[] = {
		{"{rulez: []}", "DENY ns: any"},
		{"{action: deny, rules: [{}]}", "DENY ns: any"},
		{"[]", "DENY ns: any"},
		{"{selector: {matchLabels: {app: a}}, rulez: []}", "DENY selector: any"},
		{"{selector: {matchLabels: {app: 1}}, rules: []}", "DENY ns: any"},
		{"{selector: {matchLabels: {}}, rulez: []}", "DENY ns: any"},
		{"{selector: {matchExpressions: []}, rules: []}", "DENY ns: any"},
		{"{selector: x}", "DENY ns: any"},
		{"{rules: 7}", "DENY ns: any"},
		{"{rules: [{to: [{operation: {ports: [80]}}]}]}", "DENY ns: any"},
		{"{action: DENY}", "DENY ns: any"},
	};
	struct fixture *f = *state;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		const char *got;

		(void)snprintf(yaml, sizeof(yaml), POLICY("demo", "p", "%s"), broken[i].spec);
		(void)put_broken(f, yaml);
		got = show(authorization(f, "demo/p"));
		if (strcmp(got, broken[i].want) != 0)
			fail_msg("case %zu: got \"%s\"", i, got);
		if (i == 0)
			assert_non_null(strstr(f->text, "error f.yaml:4: AuthorizationPolicy "
							"demo/p: spec: not understood"));
	}
	(void)put_broken(f, POLICY("istio-system", "p", "{rulez: []}"));
	assert_string_equal(show(authorization(f, "istio-system/p")), "DENY global: any");
	(void)put(f, POLICY("demo", "p", "{}"));
	assert_string_equal(show(authorization(f, "demo/p")), "ALLOW ns:");
}

static void a_dry_run_that_cannot_be_understood_stays_one(void **state)
{
	static const struct {
		const char *word;
		bool is_dry;
	} words[] = {{"true", true}, {"false", false}, {"yes", false}};
	struct fixture *f = *state;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		(void)drop(f, "AuthorizationPolicy", "demo", "p");
		(void)snprintf(
			yaml, sizeof(yaml),
			POLICY("demo", "p, annotations: {istio.io/dry-run: \"%s\"}", "{rules: 7}"),
			words[i].word);
		(void)put_broken(f, yaml);
		if (authorization(f, "demo/p")->dry_run != words[i].is_dry ||
		    (strstr(f->text, "were it no dry run") != NULL) != words[i].is_dry)
			fail_msg("%s: %s", words[i].word, f->text);
		assert_string_equal(show(authorization(f, "demo/p")), "DENY ns: any");
	}
}

static void a_selector_that_matches_nothing_is_told(void **state)
{
	struct fixture *f = *state;

	(void)put(f, POLICY("demo", "p", "{selector: {matchLabels: {app: a}}}"));
	assert_non_null(
		strstr(f->text, "AuthorizationPolicy demo/p: spec.selector: matches no pod"));
	(void)put(f, POD("demo", "a", "{app: a}", "{}", "{podIP: 10.0.0.1}"));
	assert_non_null(strstr(f->text, "cleared AuthorizationPolicy demo/p"));
	assert_null(strstr(f->text, "warning"));
	(void)put(f, POLICY("istio-system", "p", "{selector: {matchLabels: {app: a}}}"));
	assert_null(strstr(f->text, "warning"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(conversion),
		T(scope_comes_from_namespace_and_selector),
		T(principals_are_meant_under_each_name_of_the_trust_domain),
		T(dry_run_is_carried),
		T(audit_travels_in_an_extension),
		T(workloads_name_the_policies_that_select_them),
		T(what_ztunnels_do_not_know_is_not_sent_but_told),
		T(layer_7_is_told_with_its_line),
		T(what_is_left_of_a_rule_that_is_seen_in_part_is_told),
		T(every_field_of_layer_7_is_told),
		T(a_dry_run_is_asked_for_in_the_words_that_istio_reads),
		T(what_cannot_be_understood_denies_all_of_its_scope),
		T(a_dry_run_that_cannot_be_understood_stays_one),
		T(a_selector_that_matches_nothing_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

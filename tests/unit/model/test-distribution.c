/* SPDX-License-Identifier: Apache-2.0 */
/* distribution - who says how near the endpoints of a Service or ServiceEntry are to be. */
#include "base/macros.h"
#include "tests/unit/model/fixture.h"

#define WEB               "demo/web.demo.svc.cluster.local"
#define API               "demo/api.example.com"
#define DISTRIBUTION(how) "{networking.istio.io/traffic-distribution: " how "}"
#define NEAR_NS(ns, how)                                                                           \
	"apiVersion: v1\nkind: Namespace\nmetadata: {name: " ns                                    \
	", annotations: " DISTRIBUTION(how) "}\n---\n"
#define NEAR_SERVICE(how, spec)                                                                    \
	"apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: demo, "                   \
	"annotations: " DISTRIBUTION(how) "}\nspec: {ports: [{port: 80}]" spec "}\n---\n"

/* How many scopes are preferred. */
static int depth_of(struct fixture *f, const char *name)
{
	const Istio__Workload__LoadBalancing *lb = service(f, name)->load_balancing;

	return lb ? (int)lb->n_routing_preference : 0;
}

static void the_first_that_says_how_near_in_a_word_that_is_known_counts(void **state)
{
	static const struct {
		const char *yaml;
		int depth;
	} cases[] = {
		{NEAR_SERVICE("PreferClose", ""), 3},
		{NEAR_SERVICE("preferclose", ""), 3},
		{NEAR_SERVICE("PREFERSAMENODE", ""), 5},
		{NEAR_SERVICE("PreferSameNode", ", trafficDistribution: PreferClose"), 3},
		{NEAR_SERVICE("Any", ""), 0},
		{NEAR_NS("demo", "prefersamenode") NEAR_SERVICE("PreferClose", ""), 3},
		{NEAR_NS("demo", "prefersamenode") NEAR_SERVICE("Any", ""), 5},
		{NEAR_NS("other", "PreferClose") NS("demo", "{}") NEAR_SERVICE("Any", ""), 0},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)put(f, cases[i].yaml);
		if (depth_of(f, WEB) != cases[i].depth)
			fail_msg("%zu: %d", i, depth_of(f, WEB));
	}
}

static void services_follow_their_namespace_s_distribution(void **state)
{
	struct fixture *f = *state;

	(void)put(f, SERVICE("demo", "web", "{ports: [{port: 80}]}"));
	assert_int_equal(depth_of(f, WEB), 0);
	assert_string_equal(put(f, NEAR_NS("demo", "PreferSameZone")), "+" WEB "\n");
	assert_int_equal(depth_of(f, WEB), 3);
	assert_string_equal(put(f, NEAR_NS("demo", "PreferSameZone")), "");
	assert_string_equal(drop(f, "Namespace", "", "demo"), "+" WEB "\n");
	assert_int_equal(depth_of(f, WEB), 0);
}

#define NEAR_ENTRY(how, resolution)                                                                \
	"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api, "           \
	"namespace: "                                                                              \
	"demo, annotations: {networking.istio.io/traffic-distribution: " how                       \
	"}}\nspec: {hosts: [api.example.com], "                                                    \
	"ports: [{number: 443, name: tls, protocol: TLS}]"                                         \
	", resolution: " resolution "}\n---\n"
static void an_annotation_says_how_near_endpoints_are_to_be(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__LoadBalancing *lb;

	(void)put(f, NEAR_ENTRY("preferSameNode", "DNS"));
	lb = service(f, API)->load_balancing;
	assert_non_null(lb);
	assert_int_equal(lb->mode, ISTIO__WORKLOAD__LOAD_BALANCING__MODE__FAILOVER);
	assert_int_equal(lb->n_routing_preference, 5);
	/* whoever goes where it was going has no choice */
	(void)put(f, NEAR_ENTRY("PreferSameNode", "NONE"));
	lb = service(f, API)->load_balancing;
	assert_int_equal(lb->mode, ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH);
	assert_int_equal(lb->n_routing_preference, 0);
	/* its namespace's, as that comes, changes and goes */
	(void)put(f, NEAR_ENTRY("Any", "DNS"));
	assert_null(service(f, API)->load_balancing);
	assert_string_equal(put(f, NEAR_NS("demo", "PreferClose")), "+" API "\n");
	assert_int_equal(depth_of(f, API), 3);
	assert_string_equal(put(f, NEAR_NS("demo", "PreferClose")), "");
	assert_string_equal(put(f, NEAR_NS("demo", "PreferSameNode")), "+" API "\n");
	assert_int_equal(depth_of(f, API), 5);
	assert_string_equal(drop(f, "Namespace", "", "demo"), "+" API "\n");
	assert_null(service(f, API)->load_balancing);
}

static void a_word_that_nobody_knows_is_told(void **state)
{
	static const char told[] =
		"metadata.annotations[networking.istio.io/traffic-distribution]: not known";
	struct fixture *f = *state;

	(void)put(f, NEAR_SERVICE("PreferMe", "") NEAR_ENTRY("PreferMe", "DNS"));
	assert_non_null(strstr(f->text, told));
	assert_non_null(strstr(strstr(f->text, told) + 1, told));
	(void)put(f, NEAR_SERVICE("any", "") NEAR_ENTRY("prefersamezone", "DNS"));
	assert_null(strstr(f->text, told));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_first_that_says_how_near_in_a_word_that_is_known_counts),
		T(services_follow_their_namespace_s_distribution),
		T(an_annotation_says_how_near_endpoints_are_to_be),
		T(a_word_that_nobody_knows_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

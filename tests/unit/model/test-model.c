/* SPDX-License-Identifier: Apache-2.0 */
/* model, output - the first flush gives the static policy, names of identities and pods by node,
 * cost of a change, and the same end state whatever order things come in. */
#include "tests/unit/model/fixture.h"

#include "base/str.h"

static void the_first_flush_gives_the_static_policy_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(map_count(f->resources[XDS_AUTHORIZATION]), 1);
	assert_int_equal(model_flush(f->model), 0);
	assert_string_equal(f->text, "");
}

static void identities_are_known_by_node(void **state)
{
	static const struct {
		const char *spiffe, *node;
		bool want;
	} cases[] = {
		{"spiffe://cluster.local/ns/demo/sa/web", "n1", true},
		{"spiffe://cluster.local/ns/demo/sa/web", "n2", false},
		{"spiffe://cluster.local/ns/demo/sa/default", "n1", false},
		{"spiffe://cluster.local/ns/demo/sa/default", "n2", true},
		{"spiffe://other/ns/demo/sa/web", "n1", false},
		{"spiffe://cluster.local/ns/other/sa/web", "n1", false},
		{"spiffe://cluster.local/ns/demo/sa/job", "n1", false},
		{"spiffe://cluster.local/ns/demo/sa/web/x", "n1", false},
		{"cluster.local/ns/demo/sa/web", "n1", false},
		{"", "n1", false},
		{"spiffe://cluster.local/ns/demo/sa/web", "", false},
	};
	struct fixture *f = *state;

	(void)put(f, POD("demo", "p", "{}", "{nodeName: n1, serviceAccountName: web}",
			 "{podIP: 10.0.0.1}")
			     POD("demo", "q", "{}", "{nodeName: n2}", "{podIP: 10.0.0.2}")
				     POD("demo", "r", "{}", "{serviceAccountName: web}", "{}")
					     POD("demo", "j", "{}",
						 "{nodeName: n1, serviceAccountName: job}",
						 "{phase: Succeeded}"));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(
			model_has_identity_on_node(f->model, cases[i].spiffe, cases[i].node),
			cases[i].want);
	(void)drop(f, "Pod", "demo", "p");
	assert_false(model_has_identity_on_node(f->model, cases[0].spiffe, "n1"));
}

static int collect(void *arg, const struct model_pod *pod)
{
	char *text = arg;

	(void)sprintf(text + strlen(text), "%s/%s %s%s%s%s\n", pod->namespace_, pod->name,
		      pod->service_account, pod->is_enrolled ? " enrolled" : "",
		      pod->is_ready ? "" : " unready", pod->has_ended ? " ended" : "");
	return 0;
}

static int stop_at_once(void *arg, const struct model_pod *pod)
{
	return 7;
}

static void pods_are_listed_by_node(void **state)
{
	struct fixture *f = *state;
	char text[512] = "";

	(void)put(f, NS("demo", "{istio-injection: enabled}")
			     POD("demo", "p", "{}", "{nodeName: n1}",
				 "{podIP: 10.0.0.1, conditions: [{type: Ready, status: 'False'}]}")
				     POD("plain", "q", "{}",
					 "{nodeName: n1, serviceAccountName: s}", "{phase: Failed}")
					     POD("demo", "r", "{}", "{nodeName: n2}", "{}"));
	assert_int_equal(model_pods_on_node(f->model, "n1", collect, text), 0);
	assert_string_equal(text, "demo/p default enrolled unready\nplain/q s ended\n");
	assert_int_equal(model_pods_on_node(f->model, "n1", stop_at_once, NULL), 7);
	assert_int_equal(model_pods_on_node(f->model, "n9", stop_at_once, NULL), 0);
}

static void other_kinds_change_nothing(void **state)
{
	struct fixture *f = *state;
	static const char others[] =
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n---\n"
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

	assert_string_equal(put(f, others), "");
	assert_string_equal(put(f, others), "");
	assert_string_equal(drop(f, "ConfigMap", "default", "a"), "");
	assert_string_equal(drop(f, "Unheard", "default", "a"), "");
}

static void the_settings_shape_names(void **state)
{
	const struct model_config config = {
		.cluster_id = "c1",
		.trust_domain = "td",
		.root_namespace = "root",
		.cluster_domain = "example",
	};
	struct fixture *f = *state;
	const Istio__Workload__Address *a;

	(void)model_free(f->model);
	assert_int_equal(model_new(&fixture_ops, f, &config, &f->model), 0);
	(void)put(f, POD("demo", "p", "{a: b}", "{nodeName: n}", "{podIP: 10.0.0.1}")
			     SERVICE("demo", "s", "{selector: {a: b}, ports: [{port: 80}]}"));
	assert_non_null(strstr(f->text, "+root/istio_converted_static_strict\n"));
	assert_non_null(strstr(f->text, "+demo/s.demo.svc.example\n"));
	a = fixture_get(f, XDS_ADDRESS, "c1//Pod/demo/p", &istio__workload__address__descriptor);
	assert_string_equal(a->workload->trust_domain, "td");
	assert_string_equal(a->workload->cluster_id, "c1");
	assert_true(model_has_identity_on_node(f->model, "spiffe://td/ns/demo/sa/default", "n"));
}

#define ENTRY(kind, name, spec)                                                                    \
	"apiVersion: networking.istio.io/v1\nkind: " kind "\nmetadata: {name: " name               \
	", namespace: demo}\nspec: " spec "\n---\n"

static const char *const parts[] = {
	NS("demo", "{istio-injection: enabled}"),
	POD("demo", "p", "{app: a}", "{nodeName: n1}", "{podIP: 10.0.0.1}"),
	POD("demo", "q", "{app: a}", "{}", "{podIP: 10.0.0.2}"),
	POD("demo", "r", "{app: b}", "{}", "{podIP: 10.0.0.3}"),
	"apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {topology.kubernetes.io/zone: "
	"z}}\n",
	SERVICE("demo", "a", "{selector: {app: a}, ports: [{port: 80, targetPort: 8080}]}"),
	SERVICE("demo", "b", "{selector: {app: b}, ports: [{port: 80}]}"),
	SLICE("demo", "b-1", "b",
	      "endpoints: [{addresses: [10.0.0.2]}, {addresses: [192.0.2.1]}]\nports: [{port: 1}]"),
	PEER("istio-system", "m", "{mtls: {mode: STRICT}}"),
	PEER("demo", "w",
	     "{selector: {matchLabels: {app: b}}, portLevelMtls: {80: {mode: PERMISSIVE}}}"),
	POLICY("demo", "z", "{selector: {matchLabels: {app: a}}, action: DENY, rules: [{}]}"),
	ENTRY("ServiceEntry", "s",
	      "{hosts: [s.example.com], resolution: STATIC, workloadSelector: {labels: {app: b}}, "
	      "ports: "
	      "[{number: 80, name: h}]}"),
	ENTRY("ServiceEntry", "t",
	      "{hosts: [s.example.com, t.example.com, a.demo.svc.cluster.local], resolution: "
	      "STATIC, "
	      "endpoints: [{address: 10.0.0.2}, {address: 192.0.2.5}], ports: [{number: 80, name: "
	      "h, protocol: HTTP}]}"),
	ENTRY("WorkloadEntry", "w", "{address: 192.0.2.9, labels: {app: b}}"),
	ENTRY("WorkloadEntry", "x", "{address: 10.0.0.3, labels: {app: b}}"),
};

static void shuffle(unsigned int *order, size_t n, unsigned int *seed)
{
	for (size_t i = n; i > 1; i--) {
		size_t j = (size_t)rand_r(seed) % i;
		unsigned int t = order[i - 1];

		order[i - 1] = order[j];
		order[j] = t;
	}
}

static bool same_resources(const struct map *a, const struct map *b)
{
	if (map_count(a) != map_count(b))
		return false;
	map_for_each (a, it) {
		const struct bytes *x = it.value, *y = map_get_str(b, it.key);

		if (!y || x->len != y->len || memcmp(x->data, y->data, x->len) != 0)
			return false;
	}
	return true;
}

/* Objects come in any order, some of them leave and return: the clients end with the same bytes. */
static void the_end_state_does_not_depend_on_the_order(void **state)
{
	struct fixture *f = *state;
	unsigned int order[ARRAY_SIZE(parts)], seed = 42;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		order[i] = (unsigned int)i;
		(void)put(f, parts[i]);
	}
	for (int round = 0; round < 50; round++) {
		void *other = NULL;
		struct fixture *g;

		assert_int_equal(fixture_setup(&other), 0);
		g = other;
		shuffle(order, ARRAY_SIZE(order), &seed);
		for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
			(void)put(g, parts[order[i]]);
		(void)drop(g, "Pod", "demo", "q");
		(void)drop(g, "Service", "demo", "b");
		(void)drop(g, "Namespace", "", "demo");
		(void)drop(g, "PeerAuthentication", "istio-system", "m");
		(void)put(g, parts[6]);
		(void)put(g, parts[8]);
		(void)put(g, parts[0]);
		(void)put(g, parts[2]);
		for (int type = 0; type < XDS_TYPE_MAX; type++)
			if (!same_resources(f->resources[type], g->resources[type]))
				fail_msg("round %d differs in type %d", round, type);
		assert_string_equal(put(g, parts[order[0]]), "");
		assert_int_equal(fixture_teardown(&other), 0);
	}
}

static void everything_goes_when_its_objects_go(void **state)
{
	static const char *const names[][3] = {
		{"Namespace", "", "demo"},
		{"Pod", "demo", "p"},
		{"Pod", "demo", "q"},
		{"Pod", "demo", "r"},
		{"Service", "demo", "a"},
		{"Service", "demo", "b"},
		{"EndpointSlice", "demo", "b-1"},
		{"PeerAuthentication", "istio-system", "m"},
		{"PeerAuthentication", "demo", "w"},
		{"AuthorizationPolicy", "demo", "z"},
		{"ServiceEntry", "demo", "s"},
		{"ServiceEntry", "demo", "t"},
		{"WorkloadEntry", "demo", "w"},
		{"WorkloadEntry", "demo", "x"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		(void)put(f, parts[i]);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)drop(f, names[i][0], names[i][1], names[i][2]);
	assert_int_equal(map_count(f->resources[XDS_ADDRESS]), 0);
	assert_int_equal(map_count(f->resources[XDS_AUTHORIZATION]), 1);
}

static uint64_t time_one_change(struct fixture *f)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 20; i++) {
		uint64_t at;

		f->text[0] = '\0';
		at = now_monotonic_us();
		fixture_feed(f,
			     i % 2 ? POD("big", "p7", "{app: a7}", "{}", "{podIP: 10.0.0.7}")
				   : POD("big", "p7", "{app: a7, x: y}", "{}", "{podIP: 10.0.0.7}"),
			     fixture_fail_error);
		assert_int_equal(model_flush(f->model), 0);
		at = now_monotonic_us() - at;
		best = MIN(best, at);
	}
	return best;
}

static void grow(struct fixture *f, int from, int to)
{
	char yaml[1024];

	for (int i = from; i < to; i++) {
		f->text[0] = '\0';
		(void)snprintf(yaml, sizeof(yaml),
			       POD("big", "p%d", "{app: a%d}", "{}", "{podIP: 10.%d.%d.%d}")
				       SERVICE("big", "s%d",
					       "{selector: {app: a%d}, ports: [{port: 80}]}"),
			       i, i, i >> 16, i >> 8 & 255, i & 255, i, i);
		fixture_feed(f, yaml, fixture_fail_error);
		assert_int_equal(model_flush(f->model), 0);
	}
}

static void a_change_costs_what_it_touches(void **state)
{
	struct fixture *f = *state;
	uint64_t small, big;

	grow(f, 1, 100);
	small = time_one_change(f);
	grow(f, 100, 5000);
	big = time_one_change(f);
	/* Fifty times the objects: linear would be far above this generous bound. */
	assert_true(big < 10 * small + 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_first_flush_gives_the_static_policy_once),
		T(identities_are_known_by_node),
		T(pods_are_listed_by_node),
		T(other_kinds_change_nothing),
		T(the_settings_shape_names),
		T(the_end_state_does_not_depend_on_the_order),
		T(everything_goes_when_its_objects_go),
		T(a_change_costs_what_it_touches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

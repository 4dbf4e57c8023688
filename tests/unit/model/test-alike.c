/* SPDX-License-Identifier: Apache-2.0 */
/* alike - pods with the same labels have in common what the labels decide, and nothing else. */
#include "tests/unit/model/fixture.h"

#define LABELS "{app: web, version: v2}"
#define WEB                                                                                        \
	SERVICE("demo", "web",                                                                     \
		"{clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: a, port: 80, "        \
		"targetPort: "                                                                     \
		"main}, {name: b, port: 81, targetPort: 8081}]}")
#define PORT(number) "{containers: [{name: c, ports: [{name: main, containerPort: " number "}]}]}"
#define ONLY         POLICY("demo", "only", "{selector: {matchLabels: {app: web}}, action: ALLOW}")

static uint32_t target(const Istio__Workload__Workload *w, size_t port)
{
	assert_int_equal(w->n_services, 1);
	assert_string_equal(w->services[0]->key, "demo/web.demo.svc.cluster.local");
	assert_int_equal(w->services[0]->value->n_ports, 2);
	return w->services[0]->value->ports[port]->target_port;
}

static void a_named_port_is_each_pods_own(void **state)
{
	struct fixture *f = *state;

	(void)put(f, WEB POD("demo", "a", LABELS, PORT("8080"), "{podIP: 10.0.0.1}")
			     POD("demo", "b", LABELS, PORT("9090"), "{podIP: 10.0.0.2}"));
	assert_int_equal(target(workload(f, "demo/a"), 0), 8080);
	assert_int_equal(target(workload(f, "demo/b"), 0), 9090);
	assert_int_equal(target(workload(f, "demo/a"), 1), 8081);
	assert_int_equal(target(workload(f, "demo/b"), 1), 8081);
}

static void a_namespace_has_its_own(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__Workload *w;

	(void)put(f, WEB ONLY NS("demo", "{istio-injection: enabled}") NS("plain", "{}")
			     POD("demo", "a", LABELS, PORT("8080"), "{podIP: 10.0.0.1}")
				     POD("plain", "a", LABELS, PORT("8080"), "{podIP: 10.0.0.2}"));
	w = workload(f, "demo/a");
	assert_int_equal(w->tunnel_protocol, ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE);
	assert_int_equal(w->n_authorization_policies, 1);
	assert_int_equal(w->n_services, 1);
	w = workload(f, "plain/a");
	assert_int_equal(w->tunnel_protocol, ISTIO__WORKLOAD__TUNNEL_PROTOCOL__NONE);
	assert_int_equal(w->n_authorization_policies, 0);
	assert_int_equal(w->n_services, 0);
}

static int tunnel(struct fixture *f, const char *pod)
{
	return (int)workload(f, pod)->tunnel_protocol;
}

/* In either order: whoever is first decides nothing for the others. */
static void annotations_and_the_network_are_each_pods_own(void **state)
{
	struct fixture *f = *state;
	static const char *const out = "apiVersion: v1\nkind: Pod\n"
				       "metadata: {name: out, namespace: demo, labels: " LABELS
				       ", annotations: {sidecar.istio.io/inject: 'false'}}\n"
				       "status: {podIP: 10.0.0.9}\n---\n";

	(void)put(f, NS("demo", "{istio-injection: enabled}"));
	(void)put(f, POD("demo", "a", LABELS, PORT("1"), "{podIP: 10.0.0.1}")
			     POD("demo", "h", LABELS, "{hostNetwork: true}", "{podIP: 10.0.0.2}"));
	(void)put(f, out);
	(void)put(f, NS("demo", "{istio-injection: enabled, culvert.io/mesh: enabled}"));
	for (int again = 0; again < 2; again++) {
		assert_int_equal(tunnel(f, "demo/out"), ISTIO__WORKLOAD__TUNNEL_PROTOCOL__NONE);
		assert_int_equal(tunnel(f, "demo/h"), ISTIO__WORKLOAD__TUNNEL_PROTOCOL__NONE);
		assert_int_equal(tunnel(f, "demo/a"), ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE);
		(void)drop(f, "Pod", "demo", "a");
		(void)drop(f, "Pod", "demo", "h");
		(void)drop(f, "Pod", "demo", "out");
		f->text[0] = '\0';
		fixture_feed(f, out, fixture_fail_error);
		(void)put(f, POD("demo", "h", LABELS, "{hostNetwork: true}", "{podIP: 10.0.0.2}")
				     POD("demo", "a", LABELS, PORT("1"), "{podIP: 10.0.0.1}"));
	}
}

static void names_without_labels_are_each_pods_own(void **state)
{
	struct fixture *f = *state;

	(void)put(f, POD("demo", "a", "{}", PORT("1"), "{podIP: 10.0.0.1}")
			     POD("demo", "b", "{}", PORT("1"), "{podIP: 10.0.0.2}"));
	assert_string_equal(workload(f, "demo/a")->canonical_name, "a");
	assert_string_equal(workload(f, "demo/b")->canonical_name, "b");
	assert_string_equal(workload(f, "demo/b")->canonical_revision, "latest");
}

static void the_next_flush_works_it_out_anew(void **state)
{
	struct fixture *f = *state;

	(void)put(f, WEB POD("demo", "a", LABELS, PORT("8080"), "{podIP: 10.0.0.1}"));
	assert_int_equal(workload(f, "demo/a")->n_authorization_policies, 0);
	(void)put(f, ONLY);
	assert_int_equal(workload(f, "demo/a")->n_authorization_policies, 1);
	(void)drop(f, "Service", "demo", "web");
	assert_int_equal(workload(f, "demo/a")->n_services, 0);
	(void)drop(f, "AuthorizationPolicy", "demo", "only");
	assert_int_equal(workload(f, "demo/a")->n_authorization_policies, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_named_port_is_each_pods_own),
		T(a_namespace_has_its_own),
		T(annotations_and_the_network_are_each_pods_own),
		T(names_without_labels_are_each_pods_own),
		T(the_next_flush_works_it_out_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ports - where ports lead by name; numbers that no port can have, which Kubernetes lets through.
 */
#include "tests/unit/model/ports.h"

#define WEB "demo/web.demo.svc.cluster.local"

/* As an API server has it, which takes any number there: a folder's schema does not. */
static void put_slice_at(struct fixture *f, json_int_t port)
{
	json_t *body = json_pack(
		"{s:s,s:{s:s,s:s,s:{s:s}},s:[{s:[s],s:{s:s,s:s}}],s:[{s:s,s:I},{s:s,s:i}]}", "kind",
		"EndpointSlice", "metadata", "name", "one", "namespace", "demo", "labels",
		"kubernetes.io/service-name", "web", "endpoints", "addresses", "10.0.0.1",
		"targetRef", "kind", "Pod", "name", "p", "ports", "name", "a", "port", port, "name",
		"b", "port", 9443);
	_cleanup_(object_unrefp) struct object *o = NULL;

	assert_int_equal(object_new_json(body, &o), 0);
	assert_int_equal(model_put(f->model, o), 0);
	assert_int_equal(model_flush(f->model), 0);
}

static void a_slices_port_that_is_none_leads_nowhere(void **state)
{
	static const json_int_t numbers[] = {0, -1, 65536, 65616, INT32_MAX, 4294967376};
	struct fixture *f = *state;

	(void)put(f, POD("demo", "p", "{app: web}", "{}", "{podIP: 10.0.0.1}")
			     SERVICE("demo", "web",
				     "{ports: [{name: a, port: 80}, {name: b, port: 443}]}"));
	put_slice_at(f, 65535);
	assert_string_equal(ports_of(workload(f, "demo/p"), WEB), "80>65535 443>9443");
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		put_slice_at(f, numbers[i]);
		assert_string_equal(ports_of(workload(f, "demo/p"), WEB), "443>9443");
	}
}

#define ENTRY(spec)                                                                                \
	"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api, "           \
	"namespace: demo}\nspec: {hosts: [api.example.com], resolution: STATIC, "                  \
	"workloadSelector: {labels: {app: web}}, ports: " spec "}\n---\n"
#define CONTAINER(ports) "{containers: [{name: c, ports: [" ports "]}]}"

static void an_entrys_ports_have_a_selected_pods_own_numbers(void **state)
{
	static const char key[] = "demo/api.example.com";
	struct fixture *f = *state;

	(void)put(f, ENTRY("[{number: 80, name: http}, {number: 443, name: tls, targetPort: 8443}, "
			   "{number: 90, name: other}]"));
	(void)put(f, POD("demo", "p", "{app: web}",
			 CONTAINER("{name: http, containerPort: 8080}, {name: tls, containerPort: "
				   "9443}"),
			 "{podIP: 10.0.0.1}"));
	assert_string_equal(ports_of(workload(f, "demo/p"), key), "80>8080 443>9443 90>90");
	/* alike by its labels, with other numbers */
	(void)put(f,
		  POD("demo", "q", "{app: web}",
		      CONTAINER("{name: http, containerPort: 8081}, {name: other, protocol: UDP, "
				"containerPort: 9090}"),
		      "{podIP: 10.0.0.2}"));
	assert_string_equal(ports_of(workload(f, "demo/q"), key), "80>8081 443>8443 90>90");
}

static void a_workload_entrys_ports_are_found_by_a_services_port_names(void **state)
{
	static const char uid[] = "Kubernetes/networking.istio.io/WorkloadEntry/demo/vm";
	struct fixture *f = *state;
	Istio__Workload__Address *a;

	(void)put(f, SERVICE("demo", "web",
			     "{selector: {app: web}, ports: [{name: http, port: 80, targetPort: "
			     "8080}, {name: tls, port: 443}, {name: other, port: 90, targetPort: "
			     "9091}, {name: x, port: 91, targetPort: metrics}, {name: y, port: 92, "
			     "targetPort: none}]}"));
	(void)put(f,
		  "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: vm, "
		  "namespace: demo}\nspec: {address: 192.0.2.9, labels: {app: web}, ports: "
		  "{http: 9090, tls: 9443, metrics: 9100, x: 1, y: 2}}\n");
	a = fixture_get(f, XDS_ADDRESS, uid, &istio__workload__address__descriptor);
	assert_string_equal(ports_of(a->workload, WEB), "80>9090 443>9443 90>9091 91>9100");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_slices_port_that_is_none_leads_nowhere),
		T(an_entrys_ports_have_a_selected_pods_own_numbers),
		T(a_workload_entrys_ports_are_found_by_a_services_port_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

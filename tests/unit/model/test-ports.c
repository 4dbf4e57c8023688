/* SPDX-License-Identifier: Apache-2.0 */
/* ports - what is told of numbers that no port can have, which Kubernetes lets through. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_slices_port_that_is_none_leads_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

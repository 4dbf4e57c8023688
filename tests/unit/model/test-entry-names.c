/* SPDX-License-Identifier: Apache-2.0 */
/* pack_entry - what metrics call the workloads of ServiceEntries and WorkloadEntries. */
#include "tests/unit/model/entry.h"

#define WORKLOAD(meta, spec)                                                                       \
	"apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: vm, "           \
	"namespace: demo" meta "}\nspec: {address: 192.0.2.7" spec "}\n"
#define ENTRY(labels)                                                                              \
	"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n"                                 \
	"metadata: {name: api, namespace: demo, labels: {" labels "}}\n"                           \
	"spec: {hosts: [api.example.com], resolution: DNS, "                                       \
	"ports: [{number: 443, name: tls, protocol: TLS}], "                                       \
	"endpoints: [{address: 192.0.2.7}, {address: x.y}]}\n"
#define ENDPOINT "Kubernetes/networking.istio.io/ServiceEntry/demo/api/"
#define VM       "Kubernetes/networking.istio.io/WorkloadEntry/demo/vm"

static void a_workload_entrys_labels_name_it(void **state)
{
	struct fixture *f = *state;

	(void)put(f, WORKLOAD("", ", labels: {app: shop, version: v2}"));
	assert_string_equal(workload_of(f, VM)->canonical_name, "shop");
	assert_string_equal(workload_of(f, VM)->canonical_revision, "v2");
	(void)put(f, WORKLOAD("", ""));
	assert_string_equal(workload_of(f, VM)->canonical_name, "vm");
	assert_string_equal(workload_of(f, VM)->canonical_revision, "latest");
}

static void a_workload_entry_is_named_by_its_group_or_label(void **state)
{
	static const char *const cases[][2] = {
		{WORKLOAD(", labels: {service.istio.io/workload-name: mine}", ""), "mine"},
		{WORKLOAD(", annotations: {istio.io/autoRegistrationGroup: vms}", ""), "vms"},
		{WORKLOAD(", annotations: {istio.io/autoRegistrationGroup: vms}, "
			  "labels: {service.istio.io/workload-name: mine}",
			  ""),
		 "vms"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)put(f, cases[i][0]);
		assert_string_equal(workload_of(f, VM)->name, "vm");
		assert_string_equal(workload_of(f, VM)->workload_name, cases[i][1]);
		assert_string_equal(workload_of(f, VM)->canonical_name, cases[i][1]);
	}
}

static void an_entrys_labels_name_its_endpoints(void **state)
{
	static const struct {
		const char *yaml, *name, *revision;
	} cases[] = {
		{ENTRY(""), "api", "latest"},
		{ENTRY("app: shop, version: v2"), "shop", "v2"},
		{ENTRY("service.istio.io/workload-name: b, service.istio.io/canonical-name: a"),
		 "a", "latest"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const Istio__Workload__Workload *w;

		(void)put(f, cases[i / 2].yaml);
		w = workload_of(f, i % 2 ? ENDPOINT "192.0.2.7" : ENDPOINT "x.y");
		assert_string_equal(w->workload_name, "api");
		assert_string_equal(w->canonical_name, cases[i / 2].name);
		assert_string_equal(w->canonical_revision, cases[i / 2].revision);
		assert_int_equal(w->workload_type, ISTIO__WORKLOAD__WORKLOAD_TYPE__POD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_workload_entrys_labels_name_it),
		T(a_workload_entry_is_named_by_its_group_or_label),
		T(an_entrys_labels_name_its_endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

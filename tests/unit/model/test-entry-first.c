/* SPDX-License-Identifier: Apache-2.0 */
/* entry, pack_entry - of the ServiceEntries of several namespaces that have one host, which one the
 * other namespaces go by. */
#include "tests/unit/model/fixture.h"
#include "userspace/lib/xds/node.pb-c.h"

#define HOST "api.example.com"
/* Of the year @since, with more in its spec. */
#define ENTRY(ns, name, since, more)                                                               \
	"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: " name           \
	", namespace: " ns ", creationTimestamp: '" since                                          \
	"-01-01T00:00:00Z'}\nspec: {hosts: [" HOST "], resolution: STATIC, ports: [{number: 443, " \
	"name: tls}], endpoints: [{address: 192.0.2.1}]" more "}\n---\n"
#define PRIVATE ", exportTo: ['.']"

static bool is_first(struct fixture *f, const char *key)
{
	const Istio__Workload__Service *s = service(f, key);
	const ProtobufCBinaryData *v;
	Culvert__Node__Service *x;
	bool first;

	assert_non_null(s);
	/* agents of before take what is canonical for a Service, which kube-proxy knows */
	assert_false(s->canonical);
	if (s->n_extensions == 0)
		return false;
	v = &s->extensions[0]->config->value;
	x = culvert__node__service__unpack(NULL, v->len, v->data);
	assert_non_null(x);
	first = x->is_first;
	culvert__node__service__free_unpacked(x, NULL);
	return first;
}

static void the_oldest_of_the_mesh_has_the_host(void **state)
{
	struct fixture *f = *state;

	assert_null(strstr(put(f, ENTRY("alpha", "new", "2025", "")), "warning"));
	assert_true(is_first(f, "alpha/" HOST));
	assert_string_equal(
		put(f, ENTRY("zeta", "old", "2024", "")),
		"+zeta/" HOST "\n+Kubernetes/networking.istio.io/ServiceEntry/zeta/old/192.0.2.1\n"
		"+alpha/" HOST "\n"
		"warning f.yaml:4: ServiceEntry alpha/new: spec.hosts[0]: " HOST
		" is this one's in its own namespace alone: namespaces without one of their own go "
		"by ServiceEntry zeta/old, the oldest\n");
	assert_true(is_first(f, "zeta/" HOST));
	assert_false(is_first(f, "alpha/" HOST));
	/* of as old ones the first by name */
	(void)put(f, ENTRY("beta", "old", "2024", ""));
	assert_true(is_first(f, "beta/" HOST));
	assert_false(is_first(f, "zeta/" HOST));
	(void)drop(f, "ServiceEntry", "beta", "old");
	assert_true(is_first(f, "zeta/" HOST));
	assert_non_null(strstr(drop(f, "ServiceEntry", "zeta", "old"), "cleared"));
	assert_true(is_first(f, "alpha/" HOST));
}

static void who_is_not_for_everybody_has_it_at_home(void **state)
{
	struct fixture *f = *state;

	(void)put(f, ENTRY("alpha", "new", "2025", ""));
	assert_null(strstr(put(f, ENTRY("zeta", "old", "2024", PRIVATE)), "warning"));
	assert_true(is_first(f, "alpha/" HOST));
	assert_false(is_first(f, "zeta/" HOST));
	(void)put(f, ENTRY("zeta", "old", "2024", ""));
	assert_true(is_first(f, "zeta/" HOST));
	/* in its own namespace an older one has the host, and nobody else sees that */
	(void)put(f, ENTRY("zeta", "older", "2023", PRIVATE));
	assert_true(is_first(f, "alpha/" HOST));
	(void)drop(f, "ServiceEntry", "zeta", "older");
	assert_true(is_first(f, "zeta/" HOST));
	assert_false(is_first(f, "alpha/" HOST));
}

/* A manifest without creationTimestamp beside others that were exported from a cluster. */
static void one_of_unknown_age_comes_last(void **state)
{
	struct fixture *f = *state;

	(void)put(f, ENTRY("alpha", "c", "2024", "") ENTRY("alpha", "a", "2025", ""));
	(void)put(f, "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: b, "
		     "namespace: alpha}\nspec: {hosts: [" HOST "], resolution: STATIC}\n---\n");
	assert_non_null(service(f, "alpha/" HOST));
	assert_string_equal(service(f, "alpha/" HOST)->name, "c");
	(void)drop(f, "ServiceEntry", "alpha", "c");
	assert_string_equal(service(f, "alpha/" HOST)->name, "a");
	(void)drop(f, "ServiceEntry", "alpha", "a");
	assert_string_equal(service(f, "alpha/" HOST)->name, "b");
}

#undef HOST
#define HOST "web.demo.svc.cluster.local"

static void a_service_comes_before_all_entries(void **state)
{
	struct fixture *f = *state;

	(void)put(f, ENTRY("other", "web", "2024", ""));
	assert_true(is_first(f, "other/" HOST));
	(void)put(f, SERVICE("demo", "web", "{clusterIP: 10.96.0.1, ports: [{port: 80}]}"));
	assert_false(is_first(f, "other/" HOST));
	assert_true(service(f, "demo/" HOST)->canonical);
	(void)drop(f, "Service", "demo", "web");
	assert_true(is_first(f, "other/" HOST));
}

/* It is not sent: nobody would have the host. */
static void a_service_that_is_a_name_of_dns_has_no_host(void **state)
{
	struct fixture *f = *state;

	(void)put(f, SERVICE("demo", "web", "{type: ExternalName, externalName: web.example.com}"));
	assert_null(strstr(put(f, ENTRY("demo", "web", "2024", "")), "warning"));
	assert_true(is_first(f, "demo/" HOST));
	(void)put(f, SERVICE("demo", "web", "{clusterIP: 10.96.0.1, ports: [{port: 80}]}"));
	assert_true(service(f, "demo/" HOST)->canonical);
	(void)put(f, SERVICE("demo", "web", "{type: ExternalName, externalName: web.example.com}"));
	assert_true(is_first(f, "demo/" HOST));
}

/* As its namespace's labels and MeshConfig change, without a word from the entries. */
static void who_may_not_leave_home_has_it_for_nobody_else(void **state)
{
	struct fixture *f = *state;
	json_t *rules =
		json_pack("{s:[{s:s, s:[{s:{s:{s:s}}}]}]}", "policies", "visibility", "NAMESPACE",
			  "matchingRules", "namespaceSelector", "matchLabels", "trusted", "no");

	(void)put(f, NS("zeta", "{trusted: 'no'}") ENTRY("zeta", "old", "2024", "")
			     ENTRY("alpha", "new", "2025", ""));
	assert_true(is_first(f, "zeta/" HOST));
	model_set_entry_visibility(f->model, rules);
	json_decref(rules);
	assert_int_equal(model_flush(f->model), 0);
	assert_false(is_first(f, "zeta/" HOST));
	assert_true(is_first(f, "alpha/" HOST));
	(void)put(f, NS("zeta", "{}"));
	assert_true(is_first(f, "zeta/" HOST));
	assert_false(is_first(f, "alpha/" HOST));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_oldest_of_the_mesh_has_the_host),
		T(one_of_unknown_age_comes_last),
		T(who_may_not_leave_home_has_it_for_nobody_else),
		T(who_is_not_for_everybody_has_it_at_home),
		T(a_service_comes_before_all_entries),
		T(a_service_that_is_a_name_of_dns_has_no_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* entry, entry_hosts - hosts as people write them, which DNS takes for one name, and endpoints that
 * are nowhere in a network. */
#include "tests/unit/model/entry.h"

#define ENTRY(hosts, more)                                                                         \
	"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api, "           \
	"namespace: "                                                                              \
	"demo}\nspec: {hosts: [" hosts                                                             \
	"], ports: [{number: 443, name: tls, protocol: TLS}], " more "}\n---\n"
#define STATIC(endpoints) "resolution: STATIC, endpoints: [" endpoints "]"
#define AT                "{address: 192.0.2.7}"
#define API               "demo/api.example.com"
#define ENDPOINT          "Kubernetes/networking.istio.io/ServiceEntry/demo/api/"

static void a_host_is_the_name_that_dns_compares(void **state)
{
	static const char *const hosts[] = {"API.Example.com", "api.example.com.",
					    "api.example.COM."};
	struct fixture *f = *state;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		(void)snprintf(yaml, sizeof(yaml), ENTRY("%s", STATIC(AT)), hosts[i]);
		(void)put(f, yaml);
		assert_null(strstr(f->text, "warning"));
		assert_string_equal(service(f, API)->hostname, "api.example.com");
		assert_int_equal(service(f, API)->n_addresses, 2);
		assert_string_equal(workload_of(f, ENDPOINT "192.0.2.7")->services[0]->key, API);
		(void)drop(f, "ServiceEntry", "demo", "api");
		assert_null(service(f, API));
	}
}

static void of_one_name_written_twice_there_is_one(void **state)
{
	struct fixture *f = *state;

	(void)put(f, ENTRY("api.example.com, API.example.com., b.example.com, api.example.com",
			   STATIC(AT)));
	assert_int_equal(workload_of(f, ENDPOINT "192.0.2.7")->n_services, 2);
	assert_int_equal(service(f, API)->n_addresses, 2);
	/* and what is said of one names its place in the list */
	assert_non_null(strstr(
		put(f, ENTRY("api.example.com, API.example.com, '*b.example.com'", STATIC(AT))),
		"spec.hosts[2]: no name is looked up"));
	(void)drop(f, "ServiceEntry", "demo", "api");
	assert_null(service(f, API));
	assert_null(service(f, "demo/b.example.com"));
}

static void two_that_write_it_differently_are_rivals(void **state)
{
	struct fixture *f = *state;

	(void)put(f, ENTRY("api.example.com", STATIC(AT)));
	assert_non_null(strstr(
		put(f,
		    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: b, "
		    "namespace: demo}\nspec: {hosts: [API.example.com.], ports: [{number: 1, "
		    "name: a}]}\n"),
		"api.example.com is ServiceEntry demo/api's already"));
}

/* Istio takes it, warns, and finds no name by it. */
static void a_wildcard_without_a_dot_has_its_addresses_alone(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__Service *s;

	(void)put(f, ENTRY("'*x.example.com', b.example.com",
			   "addresses: [198.51.100.1], " STATIC(AT)));
	assert_non_null(strstr(f->text, "spec.hosts[0]: no name is looked up by a wildcard that no "
					"dot follows"));
	s = service(f, "demo/*x.example.com");
	assert_int_equal(s->n_addresses, 1);
	assert_int_equal(service(f, "demo/b.example.com")->n_addresses, 1);
	(void)put(f, ENTRY("'*x.example.com', b.example.com", STATIC(AT)));
	assert_int_equal(service(f, "demo/*x.example.com")->n_addresses, 0);
	assert_int_equal(service(f, "demo/b.example.com")->n_addresses, 2);
}

static void a_socket_is_left_out_and_the_rest_is_there(void **state)
{
	struct fixture *f = *state;

	(void)put(f, ENTRY("api.example.com", STATIC("{address: 'unix:///run/x.sock'}, " AT)));
	assert_non_null(strstr(f->text, "warning f.yaml:4: ServiceEntry demo/api: "
					"spec.endpoints[0].address: left out: a UNIX socket"));
	assert_non_null(service(f, API));
	assert_non_null(workload_of(f, ENDPOINT "192.0.2.7"));
	assert_null(workload_of(f, ENDPOINT "unix:///run/x.sock"));
	assert_non_null(strstr(put(f, "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n"
				      "metadata: {name: vm, namespace: demo}\n"
				      "spec: {address: 'unix://@x'}\n"),
			       "spec.address: left out: a UNIX socket"));
	assert_null(workload_of(f, "Kubernetes/networking.istio.io/WorkloadEntry/demo/vm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_host_is_the_name_that_dns_compares),
		T(of_one_name_written_twice_there_is_one),
		T(two_that_write_it_differently_are_rivals),
		T(a_wildcard_without_a_dot_has_its_addresses_alone),
		T(a_socket_is_left_out_and_the_rest_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* entry, pack_entry - ServiceEntries and WorkloadEntries: hosts, addresses, endpoints, and who
 * has a name that two claim. */
#include "net/addr.h"
#include "tests/unit/model/entry.h"
#include "userspace/lib/xds/node.pb-c.h"

#define ENTRY(ns, name, spec)                                                                      \
	"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: " name           \
	", namespace: " ns "}\nspec: " spec "\n---\n"
#define WORKLOAD(ns, name, spec)                                                                   \
	"apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: " name          \
	", namespace: " ns "}\nspec: " spec "\n---\n"
#define API      "demo/api.example.com"
#define API_PORT "ports: [{number: 443, name: tls, protocol: TLS, targetPort: 8443}]"
#define API_AT   "Kubernetes/networking.istio.io/ServiceEntry/demo/api/192.0.2.7"
#define VM       "Kubernetes/networking.istio.io/WorkloadEntry/demo/vm"

static const char *address_of(const Istio__Workload__Service *s, size_t i)
{
	static char text[CV_ADDR_STRLEN];
	struct cv_addr a;

	assert_true(i < s->n_addresses);
	assert_int_equal(
		cv_addr_from_bytes(s->addresses[i]->address.data, s->addresses[i]->address.len, &a),
		0);
	return cv_addr_format(&a, text);
}

static void static_entries_get_endpoints_and_an_address(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__Workload *w;
	const Istio__Workload__Service *s;
	char first[CV_ADDR_STRLEN];

	assert_string_equal(
		put(f, ENTRY("demo", "api",
			     "{hosts: [api.example.com], resolution: STATIC, subjectAltNames: "
			     "[spiffe://x/ns/a/sa/b], " API_PORT
			     ", endpoints: [{address: 192.0.2.7, weight: 3, locality: r/z/s}, "
			     "{address: '2001:db8::7', ports: {tls: 9443}}]}")),
		"+" API "\n+" API_AT
		"\n+Kubernetes/networking.istio.io/ServiceEntry/demo/api/2001:db8::7\n"
		"warning f.yaml:4: ServiceEntry demo/api: spec.subjectAltNames: looked at in "
		"tunnels alone, and none leads there: TLS of the applications is theirs\n");
	s = service(f, API);
	assert_false(s->canonical);
	assert_null(s->load_balancing);
	assert_int_equal(s->n_addresses, 2);
	(void)snprintf(first, sizeof(first), "%s", address_of(s, 0));
	assert_memory_equal(first, "240.240.", 8);
	assert_memory_equal(address_of(s, 1), "2001:2::", 8);
	assert_string_equal(s->subject_alt_names[0], "spiffe://x/ns/a/sa/b");
	assert_int_equal(s->ports[0]->target_port, 8443);
	w = workload_of(f, API_AT);
	assert_int_equal(w->capacity->value, 3);
	assert_string_equal(w->locality->region, "r");
	assert_string_equal(w->locality->zone, "z");
	assert_string_equal(w->locality->subzone, "s");
	assert_string_equal(w->services[0]->key, API);
	assert_int_equal(w->services[0]->value->ports[0]->target_port, 8443);
	w = workload_of(f, "Kubernetes/networking.istio.io/ServiceEntry/demo/api/2001:db8::7");
	assert_int_equal(w->services[0]->value->ports[0]->target_port, 9443);
	/* gone and back: the same address */
	(void)drop(f, "ServiceEntry", "demo", "api");
	assert_null(service(f, API));
	assert_null(workload_of(f, API_AT));
	(void)put(f,
		  ENTRY("demo", "z", "{hosts: [z.example.com], resolution: STATIC, " API_PORT "}")
			  ENTRY("demo", "api",
				"{hosts: [api.example.com], resolution: STATIC, " API_PORT "}"));
	assert_string_equal(address_of(service(f, API), 0), first);
}

static void addresses_are_given_only_where_they_are_needed(void **state)
{
	static const char *const without[] = {
		"{hosts: [api.example.com], " API_PORT "}",
		"{hosts: [api.example.com], resolution: NONE, " API_PORT "}",
		"{hosts: [api.example.com], resolution: DYNAMIC_DNS, " API_PORT "}",
	};
	struct fixture *f = *state;
	const Istio__Workload__Service *s;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(without); i++) {
		(void)snprintf(yaml, sizeof(yaml), ENTRY("demo", "api", "%s"), without[i]);
		(void)put(f, yaml);
		s = service(f, API);
		assert_int_equal(s->n_addresses, 0);
		assert_int_equal(s->load_balancing->mode,
				 ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH);
		assert_int_equal(strstr(f->text, "warning") != NULL, i == 2);
	}
	(void)put(f, ENTRY("demo", "api",
			   "{hosts: ['*.example.com'], resolution: STATIC, " API_PORT
			   ", endpoints: [{address: 192.0.2.7}]}"));
	assert_null(service(f, API));
	assert_int_equal(service(f, "demo/*.example.com")->n_addresses, 0);
	(void)put(f, ENTRY("demo", "api",
			   "{hosts: ['*.example.com'], resolution: DNS, " API_PORT
			   ", addresses: [198.51.100.1], endpoints: [{address: db.example.org}]}"));
	assert_int_equal(service(f, "demo/*.example.com")->n_addresses, 1);
	assert_string_equal(
		workload_of(f,
			    "Kubernetes/networking.istio.io/ServiceEntry/demo/api/db.example.org")
			->services[0]
			->key,
		"demo/*.example.com");
	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com], addresses: [198.51.100.1, 198.18.0.0/15, "
			   "'2001:db8::/32'], " API_PORT "}"));
	s = service(f, API);
	assert_int_equal(s->n_addresses, 3);
	assert_int_equal(s->addresses[0]->prefix_case,
			 ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX__NOT_SET);
	assert_int_equal(s->addresses[1]->length, 15);
	assert_int_equal(s->addresses[2]->length, 32);
}

static void selectors_find_pods_and_workload_entries(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__Workload *w;

	(void)put(f, POD("demo", "p", "{app: api}", "{}", "{podIP: 10.0.0.1}") WORKLOAD(
			     "demo", "vm",
			     "{address: 192.0.2.9, labels: {app: api}, serviceAccount: vm, "
			     "ports: {tls: 7443}}"));
	assert_int_equal(workload_of(f, VM)->n_services, 0);
	assert_string_equal(workload_of(f, VM)->service_account, "vm");
	assert_string_equal(
		put(f, ENTRY("demo", "api",
			     "{hosts: [api.example.com], resolution: STATIC, workloadSelector: "
			     "{labels: {app: api}}, " API_PORT "}")),
		"+" API "\n+" VM "\n+Kubernetes//Pod/demo/p\n");
	assert_string_equal(workload(f, "demo/p")->services[0]->key, API);
	w = workload_of(f, VM);
	assert_string_equal(w->services[0]->key, API);
	assert_int_equal(w->services[0]->value->ports[0]->target_port, 7443);
	assert_string_equal(drop(f, "ServiceEntry", "demo", "api"),
			    "+" VM "\n+Kubernetes//Pod/demo/p\n-" API "\n");
	assert_string_equal(drop(f, "WorkloadEntry", "demo", "vm"), "-" VM "\n");
}

static void export_decides_who_sees_it(void **state)
{
	static const struct {
		const char *to;
		int visibility;
		const char *visible_to; /* "" where home alone, or everyone */
	} cases[] = {
		{"['*']", ISTIO__WORKLOAD__VISIBILITY__PUBLIC, ""},
		{"[other, '*']", ISTIO__WORKLOAD__VISIBILITY__PUBLIC, ""},
		{"[.]", ISTIO__WORKLOAD__VISIBILITY__NAMESPACE, ""},
		{"[demo]", ISTIO__WORKLOAD__VISIBILITY__NAMESPACE, ""},
		{"[., other]", ISTIO__WORKLOAD__VISIBILITY__NAMESPACE, "demo other "},
		{"[other]", ISTIO__WORKLOAD__VISIBILITY__NAMESPACE, "other "},
		{"['~']", -1, ""},
	};
	struct fixture *f = *state;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const Istio__Workload__Service *s;
		Culvert__Node__Service *x = NULL;
		char seen[64] = "";

		(void)snprintf(yaml, sizeof(yaml),
			       ENTRY("demo", "api",
				     "{hosts: [api.example.com], " API_PORT ", exportTo: %s}"),
			       cases[i].to);
		(void)put(f, yaml);
		s = service(f, API);
		assert_int_equal(s ? (int)s->visibility : -1, cases[i].visibility);
		if (s && s->n_extensions)
			x = culvert__node__service__unpack(NULL,
							   s->extensions[0]->config->value.len,
							   s->extensions[0]->config->value.data);
		for (size_t k = 0; x && k < x->n_visible_to; k++) {
			(void)strncat(seen, x->visible_to[k], 16);
			(void)strncat(seen, " ", 2);
		}
		if (x)
			culvert__node__service__free_unpacked(x, NULL);
		assert_string_equal(seen, cases[i].visible_to);
		assert_null(strstr(f->text, "warning"));
	}
}

static void names_become_endpoints_for_dns(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__Workload *w;
	const Istio__Workload__Service *s;
	Culvert__Node__Workload *x;

	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com, www.example.com], resolution: DNS, " API_PORT
			   "}"));
	s = service(f, API);
	assert_null(s->load_balancing);
	assert_int_equal(s->n_addresses, 2);
	w = workload_of(f, "Kubernetes/networking.istio.io/ServiceEntry/demo/api/api.example.com");
	assert_string_equal(w->hostname, "api.example.com");
	assert_int_equal(w->n_addresses, 0);
	assert_int_equal(w->n_services, 1);
	assert_string_equal(w->services[0]->key, API);
	assert_int_equal(w->n_extensions, 0);
	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com], resolution: DNS_ROUND_ROBIN, " API_PORT
			   ", endpoints: [{address: eu.example.com, weight: 2}]}"));
	assert_null(workload_of(
		f, "Kubernetes/networking.istio.io/ServiceEntry/demo/api/api.example.com"));
	w = workload_of(f, "Kubernetes/networking.istio.io/ServiceEntry/demo/api/eu.example.com");
	assert_int_equal(w->capacity->value, 2);
	x = culvert__node__workload__unpack(NULL, w->extensions[0]->config->value.len,
					    w->extensions[0]->config->value.data);
	assert_true(x->first_address);
	culvert__node__workload__free_unpacked(x, NULL);
	/* an address needs no DNS */
	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com], resolution: DNS, " API_PORT
			   ", endpoints: [{address: 192.0.2.7}]}"));
	w = workload_of(f, API_AT);
	assert_int_equal(w->n_addresses, 1);
	assert_string_equal(w->hostname, "");
	assert_null(strstr(f->text, "warning"));
}

static void a_workload_entry_may_have_a_name(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__Workload *w;

	(void)put(f, WORKLOAD("demo", "vm", "{address: vm.example.com, labels: {app: web}}"));
	w = workload_of(f, VM);
	assert_string_equal(w->hostname, "vm.example.com");
	assert_int_equal(w->n_services, 0);
	/* a Service selects it as it selects pods */
	(void)put(f,
		  SERVICE("demo", "web",
			  "{selector: {app: web}, ports: [{name: h, port: 80, targetPort: 8080}, "
			  "{name: m, port: 90, targetPort: metrics}]}"));
	w = workload_of(f, VM);
	assert_int_equal(w->n_services, 1);
	assert_string_equal(w->services[0]->key, "demo/web.demo.svc.cluster.local");
	assert_int_equal(w->services[0]->value->n_ports, 1);
	assert_int_equal(w->services[0]->value->ports[0]->target_port, 8080);
	(void)put(f, WORKLOAD("demo", "vm",
			      "{address: vm.example.com, labels: {app: web}, ports: {metrics: "
			      "9090}}"));
	w = workload_of(f, VM);
	assert_int_equal(w->services[0]->value->ports[1]->target_port, 9090);
	(void)drop(f, "Service", "demo", "web");
	assert_int_equal(workload_of(f, VM)->n_services, 0);
}

#define GROUP(ns, name, spec)                                                                      \
	"apiVersion: networking.istio.io/v1\nkind: WorkloadGroup\nmetadata: {name: " name          \
	", namespace: " ns "}\nspec: " spec "\n---\n"

static void a_group_gives_its_entries_what_they_leave_out(void **state)
{
	static const char entry[] =
		"apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: vm, "
		"namespace: demo, annotations: {istio.io/autoRegistrationGroup: web}}\nspec: "
		"{address: 192.0.2.7, serviceAccount: own}\n---\n";
	struct fixture *f = *state;
	const Istio__Workload__Workload *w;

	(void)put(f, entry);
	(void)put(f, WORKLOAD("demo", "other", "{address: 192.0.2.8}"));
	(void)put(f, SERVICE("demo", "web",
			     "{selector: {app: web}, ports: [{port: 80, targetPort: http}]}"));
	assert_int_equal(workload_of(f, VM)->n_services, 0);
	(void)put(f, GROUP("demo", "web",
			   "{metadata: {labels: {app: web}}, template: {serviceAccount: group, "
			   "weight: 5, ports: {http: 8080}}}"));
	w = workload_of(f, VM);
	assert_string_equal(w->service_account, "own");
	assert_int_equal(w->capacity->value, 5);
	assert_int_equal(w->n_services, 1);
	assert_int_equal(w->services[0]->value->ports[0]->target_port, 8080);
	assert_int_equal(workload_of(f, "Kubernetes/networking.istio.io/WorkloadEntry/demo/other")
				 ->n_services,
			 0);
	(void)put(f, GROUP("demo", "web", "{template: {weight: 6}, probe: {httpGet: {port: 80}}}"));
	assert_int_equal(workload_of(f, VM)->capacity->value, 6);
	assert_int_equal(workload_of(f, VM)->n_services, 0);
	assert_non_null(strstr(f->text, "spec.probe: not honoured"));
	(void)drop(f, "WorkloadGroup", "demo", "web");
	assert_null(workload_of(f, VM)->capacity);
}

/* As in Istio, where a field that holds 0 is one that is not there. */
static void a_weight_of_zero_is_none(void **state)
{
	struct fixture *f = *state;

	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com], resolution: STATIC, " API_PORT
			   ", endpoints: [{address: 192.0.2.7, weight: 0}]}"));
	assert_null(workload_of(f, API_AT)->capacity);
	(void)put(f, WORKLOAD("demo", "zero", "{address: 192.0.2.8, weight: 0}"));
	assert_null(
		workload_of(f, "Kubernetes/networking.istio.io/WorkloadEntry/demo/zero")->capacity);
}

static void under_registry_only_what_only_a_name_decides_is_resolved_here(void **state)
{
	static const char uid[] =
		"Kubernetes/networking.istio.io/ServiceEntry/demo/api/api.example.com";
	struct fixture *f = *state;

	(void)put(f, ENTRY("demo", "api", "{hosts: [api.example.com], " API_PORT "}"));
	assert_null(strstr(f->text, "warning"));
	assert_int_equal(service(f, API)->n_addresses, 0);
	assert_non_null(service(f, API)->load_balancing);
	assert_int_equal(model_set_registry_only(f->model, true), 0);
	assert_int_equal(model_flush(f->model), 0);
	assert_non_null(strstr(f->text, "spec.resolution: NONE, so that a name would decide"));
	assert_null(strstr(f->text, "refused"));
	assert_int_equal(service(f, API)->n_addresses, 2);
	assert_true(strncmp(address_of(service(f, API), 0), "240.240.", 8) == 0);
	assert_null(service(f, API)->load_balancing);
	assert_string_equal(workload_of(f, uid)->hostname, "api.example.com");
	assert_int_equal(model_set_registry_only(f->model, false), 0);
	assert_int_equal(model_flush(f->model), 0);
	assert_int_equal(service(f, API)->n_addresses, 0);
	assert_non_null(service(f, API)->load_balancing);
}

static void under_registry_only_a_wildcard_has_a_range_for_the_names_below_it(void **state)
{
	static const char wild[] = "demo/*.example.com";
	static const char uid[] =
		"Kubernetes/networking.istio.io/ServiceEntry/demo/api/*.example.com";
	struct fixture *f = *state;
	const Istio__Workload__Service *s;

	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com, '*.example.com'], " API_PORT "}"));
	assert_int_equal(service(f, wild)->n_addresses, 0);
	assert_int_equal(model_set_registry_only(f->model, true), 0);
	assert_int_equal(model_flush(f->model), 0);
	assert_non_null(strstr(f->text, "of a wildcard up to 254 names at a time on a node"));
	assert_null(strstr(f->text, "refused"));
	assert_true(strncmp(address_of(service(f, API), 0), "240.240.", 8) == 0);
	s = service(f, wild);
	assert_int_equal(s->n_addresses, 2);
	assert_int_equal(s->addresses[0]->address.len, 4);
	assert_int_equal(s->addresses[0]->address.data[0], 241);
	assert_int_equal(s->addresses[0]->address.data[3], 0);
	assert_int_equal(s->addresses[0]->length, 24);
	assert_int_equal(s->addresses[1]->address.len, 16);
	assert_int_equal(s->addresses[1]->length, 120);
	assert_null(s->load_balancing);
	assert_string_equal(workload_of(f, uid)->hostname, "*.example.com");
	assert_int_equal(model_set_registry_only(f->model, false), 0);
	assert_int_equal(model_flush(f->model), 0);
	assert_int_equal(service(f, wild)->n_addresses, 0);
}

#define MIXED_PORTS                                                                                \
	"ports: [{number: 9000, name: tcp, protocol: tcp}, {number: 443, name: tls, protocol: "    \
	"TLS}]"

static Culvert__Node__Service *extension_of(const Istio__Workload__Service *s)
{
	assert_int_equal(s->n_extensions, 1);
	assert_string_equal(s->extensions[0]->name, "culvert.node.Service");
	return culvert__node__service__unpack(NULL, s->extensions[0]->config->value.len,
					      s->extensions[0]->config->value.data);
}

/* A TCP port of theirs is one of any host: they have addresses for the other ports' sake. */
static void under_registry_only_a_tcp_port_beside_named_ones_stays_open(void **state)
{
	struct fixture *f = *state;
	Culvert__Node__Service *x;

	assert_int_equal(model_set_registry_only(f->model, true), 0);
	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com, '*.example.com'], exportTo: [demo, other], "
			   "" MIXED_PORTS "}"));
	assert_null(strstr(f->text, "refused"));
	assert_int_equal(service(f, API)->n_addresses, 2);
	assert_int_equal(service(f, "demo/*.example.com")->n_addresses, 2);
	x = extension_of(service(f, "demo/*.example.com"));
	assert_true(x->is_open);
	assert_int_equal(x->n_visible_to, 2);
	culvert__node__service__free_unpacked(x, NULL);
	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com], ports: [{number: 9000, name: tcp, protocol: "
			   "TCP}, {number: 53, name: udp, protocol: UDP}]}"));
	assert_int_equal(service(f, API)->n_addresses, 0);
	assert_non_null(service(f, API)->load_balancing);
	x = extension_of(service(f, API));
	assert_false(x->is_open);
	culvert__node__service__free_unpacked(x, NULL);
}

static void under_registry_only_what_stays_refused_is_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(model_set_registry_only(f->model, true), 0);
	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com], workloadSelector: {labels: {app: api}}, "
			   "" MIXED_PORTS "}"));
	assert_non_null(strstr(f->text, "connections to ports that are not TCP are refused"));
	assert_int_equal(service(f, API)->n_addresses, 0);
	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com], ports: [{number: 9000, name: tcp, protocol: "
			   "TCP}]}"));
	assert_null(strstr(f->text, "warning"));
	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com], addresses: [192.0.2.1], " API_PORT "}"));
	assert_null(strstr(f->text, "warning"));
	assert_int_equal(service(f, API)->n_addresses, 1);
}

#define AT_VM ", resolution: STATIC, endpoints: [{address: 192.0.2.7"

static const struct {
	const char *yaml, *message; /* "": nothing */
} parts[] = {
	{ENTRY("demo", "api", "{hosts: [api.example.com]" AT_VM ", network: n2}]}"),
	 "spec.endpoints[0].network: no gateway leads to another network yet: the address is"},
	{ENTRY("demo", "api", "{hosts: [api.example.com]" AT_VM ", network: ''}]}"), ""},
	{ENTRY("demo", "api", "{hosts: [api.example.com]" AT_VM ", serviceAccount: a}]}"),
	 "spec.endpoints[0].serviceAccount: no identity is asked for"},
	{ENTRY("demo", "api", "{hosts: [api.example.com]" AT_VM ", labels: {a: b}}]}"),
	 "spec.endpoints[0].labels: not honoured"},
	{ENTRY("demo", "api", "{hosts: [api.example.com], location: MESH_INTERNAL" AT_VM "}]}"),
	 "spec.location: endpoints that are given here are reached in plaintext"},
	{ENTRY("demo", "api", "{hosts: [api.example.com], location: MESH_EXTERNAL" AT_VM "}]}"),
	 ""},
	{ENTRY("demo", "api",
	       "{hosts: [api.example.com], location: MESH_INTERNAL, resolution: STATIC, "
	       "subjectAltNames: [spiffe://x/ns/a/sa/b], workloadSelector: {labels: {a: b}}}"),
	 ""},
	{ENTRY("demo", "api",
	       "{hosts: [api.example.com], ports: [{number: 80, name: a, protocol: TCP}, "
	       "{number: 90, name: b, protocol: udp}]}"),
	 "spec.ports[1].protocol: UDP other than DNS is left alone"},
	{WORKLOAD("demo", "vm", "{address: 192.0.2.7, network: n2}"),
	 "spec.network: no gateway leads to another network yet"},
	{ENTRY("demo", "api",
	       "{hosts: [api.example.com], resolution: STATIC, endpoints: [{network: n2}]}"),
	 "spec.endpoints[0].network: no gateway leads to another network yet: left out, it has no "
	 "address"},
	{WORKLOAD("demo", "vm", "{network: n2}"),
	 "spec.network: no gateway leads to another network yet: left out, it has no address"},
	{WORKLOAD("demo", "vm", "{address: 192.0.2.7, labels: {a: b}, serviceAccount: a}"), ""},
	{"apiVersion: networking.istio.io/v1\nkind: WorkloadGroup\n"
	 "metadata: {name: g, namespace: demo}\n"
	 "spec: {metadata: {annotations: {a: b}}, template: {}}\n",
	 "spec.metadata.annotations: not honoured: its labels are"},
};

static void what_is_honoured_in_part_says_so(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		(void)put(f, parts[i].yaml);
		if (*parts[i].message ? !strstr(f->text, parts[i].message)
				      : strstr(f->text, "warning") != NULL)
			fail_msg("case %zu: %s", i, f->text);
		(void)drop(f, "ServiceEntry", "demo", "api");
		(void)drop(f, "WorkloadEntry", "demo", "vm");
	}
}

static void a_host_belongs_to_one(void **state)
{
	struct fixture *f = *state;

	(void)put(f, ENTRY("demo", "b", "{hosts: [api.example.com], addresses: [192.0.2.2]}") ENTRY(
			     "demo", "a", "{hosts: [api.example.com], addresses: [192.0.2.1]}"));
	assert_string_equal(address_of(service(f, API), 0), "192.0.2.1");
	assert_non_null(strstr(f->text, "warning f.yaml:4: ServiceEntry demo/b: spec.hosts[0]: "
					"api.example.com is ServiceEntry demo/a's already"));
	(void)drop(f, "ServiceEntry", "demo", "a");
	assert_string_equal(address_of(service(f, API), 0), "192.0.2.2");
	(void)put(f, ENTRY("demo", "a", "{hosts: [api.example.com], addresses: [192.0.2.1]}"));
	assert_string_equal(address_of(service(f, API), 0), "192.0.2.1");
	(void)drop(f, "ServiceEntry", "demo", "b");
	assert_string_equal(address_of(service(f, API), 0), "192.0.2.1");
	/* a Service's name is the Service's */
	(void)put(f, ENTRY("demo", "a",
			   "{hosts: [web.demo.svc.cluster.local], addresses: "
			   "[192.0.2.1]}"));
	assert_int_equal(service(f, "demo/web.demo.svc.cluster.local")->n_addresses, 1);
	(void)put(f, SERVICE("demo", "web", "{ports: [{port: 80}]}"));
	assert_true(service(f, "demo/web.demo.svc.cluster.local")->canonical);
	(void)drop(f, "Service", "demo", "web");
	assert_false(service(f, "demo/web.demo.svc.cluster.local")->canonical);
}

static void a_pod_is_never_reached_under_another_name(void **state)
{
	struct fixture *f = *state;

	(void)put(f, ENTRY("demo", "api",
			   "{hosts: [api.example.com], resolution: STATIC, " API_PORT
			   ", endpoints: [{address: 192.0.2.7}]}")
			     WORKLOAD("demo", "vm", "{address: 192.0.2.7}"));
	assert_non_null(workload_of(f, API_AT));
	assert_non_null(workload_of(f, VM));
	(void)put(f, POD("demo", "p", "{}", "{}", "{podIP: 192.0.2.7}"));
	assert_null(workload_of(f, API_AT));
	assert_null(workload_of(f, VM));
	assert_non_null(strstr(f->text, "spec.endpoints[0].address: left out: it is pod demo/p's"));
	(void)drop(f, "Pod", "demo", "p");
	assert_non_null(workload_of(f, API_AT));
	assert_non_null(workload_of(f, VM));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(static_entries_get_endpoints_and_an_address),
		T(addresses_are_given_only_where_they_are_needed),
		T(selectors_find_pods_and_workload_entries),
		T(export_decides_who_sees_it),
		T(names_become_endpoints_for_dns),
		T(a_workload_entry_may_have_a_name),
		T(a_group_gives_its_entries_what_they_leave_out),
		T(a_weight_of_zero_is_none),
		T(under_registry_only_what_only_a_name_decides_is_resolved_here),
		T(under_registry_only_a_wildcard_has_a_range_for_the_names_below_it),
		T(under_registry_only_a_tcp_port_beside_named_ones_stays_open),
		T(under_registry_only_what_stays_refused_is_told),
		T(what_is_honoured_in_part_says_so),
		T(a_host_belongs_to_one),
		T(a_pod_is_never_reached_under_another_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

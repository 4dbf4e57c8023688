/* SPDX-License-Identifier: Apache-2.0 */
/* service, ports, pack_service - VIPs, ports and presets; endpoints by selector or by slices; only
 * what changed. */
#include "tests/unit/model/ports.h"
#include "userspace/lib/xds/node.pb-c.h"

#define WEB "demo/web.demo.svc.cluster.local"

static void carries_what_istio_would_send(void **state)
{
	struct fixture *f = *state;
	Istio__Workload__Service *s;

	(void)put(f,
		  "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: demo}\nspec:\n"
		  "  clusterIP: 10.96.0.1\n  clusterIPs: [10.96.0.1, 'fd00:96::1']\n  ipFamilies: "
		  "[IPv4, IPv6]\n"
		  "  externalIPs: [192.0.2.1]\n"
		  "  ports: [{name: http-web, port: 80, targetPort: 8080}, {name: https, port: "
		  "443, targetPort: tls},\n"
		  "    {name: db, port: 5432}, {name: dns, port: 53, protocol: UDP}, {name: g, "
		  "port: 9, appProtocol: grpc}]\n"
		  "status: {loadBalancer: {ingress: [{ip: 198.51.100.1}, {ip: 198.51.100.2, "
		  "ipMode: Proxy}, {hostname: x}]}}\n");
	s = service(f, WEB);
	assert_non_null(s);
	assert_string_equal(s->name, "web");
	assert_string_equal(s->namespace_, "demo");
	assert_string_equal(s->hostname, "web.demo.svc.cluster.local");
	assert_int_equal(s->n_addresses, 4);
	assert_memory_equal(s->addresses[0]->address.data, "\x0a\x60\x00\x01", 4);
	assert_int_equal(s->addresses[1]->address.len, 16);
	assert_int_equal(s->addresses[0]->prefix_case,
			 ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX__NOT_SET);
	assert_int_equal(s->n_ports, 4);
	assert_int_equal(s->ports[0]->target_port, 8080);
	assert_int_equal(s->ports[0]->app_protocol, ISTIO__WORKLOAD__PORT__APP_PROTOCOL__HTTP11);
	assert_int_equal(s->ports[1]->target_port, 0);
	assert_int_equal(s->ports[1]->app_protocol, ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TLS);
	assert_int_equal(s->ports[2]->target_port, 5432);
	assert_int_equal(s->ports[2]->app_protocol, ISTIO__WORKLOAD__PORT__APP_PROTOCOL__UNKNOWN);
	assert_int_equal(s->ports[3]->app_protocol, ISTIO__WORKLOAD__PORT__APP_PROTOCOL__GRPC);
	assert_int_equal(s->ip_families, ISTIO__WORKLOAD__IPFAMILIES__DUAL);
	assert_true(s->canonical);
	assert_null(s->load_balancing);
	assert_int_equal(s->visibility, ISTIO__WORKLOAD__VISIBILITY__PUBLIC);
}

static Culvert__Node__Service *extension_of(const Istio__Workload__Service *s)
{
	Culvert__Node__Service *x;

	assert_int_equal(s->n_extensions, 1);
	x = culvert__node__service__unpack(NULL, s->extensions[0]->config->value.len,
					   s->extensions[0]->config->value.data);
	assert_non_null(x);
	return x;
}

static void external_addresses_are_told_from_the_clusters(void **state)
{
	struct fixture *f = *state;
	Culvert__Node__Service *x;

	(void)put(f, "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: demo}\nspec: "
		     "{type: LoadBalancer, clusterIP: 10.96.0.1, externalIPs: [192.0.2.1, "
		     "10.96.0.1], ports: [{port: 80}]}\nstatus: {loadBalancer: {ingress: [{ip: "
		     "'2001:db8::1'}, {ip: 192.0.2.1}]}}\n");
	/* among its addresses, for those who do not know the mark */
	assert_int_equal(service(f, WEB)->n_addresses, 3);
	x = extension_of(service(f, WEB));
	assert_int_equal(x->n_external_addresses, 2);
	assert_int_equal(x->external_addresses[0].len, 4);
	assert_memory_equal(x->external_addresses[0].data, "\xc0\x00\x02\x01", 4);
	assert_int_equal(x->external_addresses[1].len, 16);
	culvert__node__service__free_unpacked(x, NULL);
	(void)put(f, "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: demo}\nspec: "
		     "{clusterIP: 10.96.0.1, ports: [{port: 80}]}\n");
	assert_int_equal(service(f, WEB)->n_extensions, 0);
}

static void headless_and_external_services(void **state)
{
	struct fixture *f = *state;

	(void)put(f, SERVICE("demo", "web", "{clusterIP: None, ports: [{port: 80}]}"));
	assert_int_equal(service(f, WEB)->n_addresses, 0);
	assert_string_equal(
		put(f, SERVICE("demo", "web", "{type: ExternalName, externalName: x.example}")),
		"-" WEB "\n");
}

static void presets_of_load_balancing(void **state)
{
	static const struct {
		const char *field;
		int mode, count, last;
	} cases[] = {
		{"internalTrafficPolicy: Local", ISTIO__WORKLOAD__LOAD_BALANCING__MODE__STRICT, 1,
		 ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__NODE},
		{"trafficDistribution: PreferClose",
		 ISTIO__WORKLOAD__LOAD_BALANCING__MODE__FAILOVER, 3,
		 ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__ZONE},
		{"trafficDistribution: PreferSameNode",
		 ISTIO__WORKLOAD__LOAD_BALANCING__MODE__FAILOVER, 5,
		 ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__NODE},
	};
	struct fixture *f = *state;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const Istio__Workload__LoadBalancing *lb;

		(void)snprintf(yaml, sizeof(yaml),
			       SERVICE("demo", "web", "{ports: [{port: 80}], %s}"), cases[i].field);
		(void)put(f, yaml);
		lb = service(f, WEB)->load_balancing;
		assert_int_equal(lb->mode, cases[i].mode);
		assert_int_equal(lb->n_routing_preference, cases[i].count);
		assert_int_equal(lb->routing_preference[cases[i].count - 1], cases[i].last);
	}
	(void)put(f,
		  SERVICE("demo", "web", "{ports: [{port: 80}], publishNotReadyAddresses: true}"));
	assert_int_equal(service(f, WEB)->load_balancing->health_policy,
			 ISTIO__WORKLOAD__LOAD_BALANCING__HEALTH_POLICY__ALLOW_ALL);
}

static void a_waypoint_that_is_asked_for_is_told_not_to_be_there(void **state)
{
	struct fixture *f = *state;

	assert_non_null(strstr(put(f, NS("demo", "{istio.io/use-waypoint: w}")),
			       "waypoints are not served yet"));
	assert_non_null(strstr(put(f, NS("demo", "{istio.io/use-waypoint: none}")),
			       "cleared Namespace /demo"));
	assert_non_null(strstr(put(f, "apiVersion: v1\nkind: Service\nmetadata: {name: web, "
				      "namespace: demo, labels: {istio.io/use-waypoint: w}}\nspec: "
				      "{ports: [{port: 80}]}\n"),
			       "waypoints are not served yet"));
	assert_null(strstr(put(f, SERVICE("demo", "web", "{ports: [{port: 80}]}")), "warning"));
}

static void source_ranges_of_a_load_balancer_are_told(void **state)
{
	struct fixture *f = *state;

	assert_non_null(strstr(put(f, SERVICE("demo", "web",
					      "{type: LoadBalancer, ports: [{port: 80}], "
					      "loadBalancerSourceRanges: [192.0.2.0/24]}")),
			       "spec.loadBalancerSourceRanges: not honoured for pods of the mesh"));
	assert_null(strstr(put(f, SERVICE("demo", "web",
					  "{type: LoadBalancer, ports: [{port: 80}], "
					  "loadBalancerSourceRanges: []}")),
			   "loadBalancerSourceRanges"));
}

static void affinity_travels_in_an_extension(void **state)
{
	static const struct {
		const char *fields;
		uint32_t seconds;
	} cases[] = {
		{"sessionAffinity: ClientIP", 10800},
		{"sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: "
		 "60}}",
		 60},
	};
	struct fixture *f = *state;
	char yaml[512];

	(void)put(f, SERVICE("demo", "web", "{ports: [{port: 80}], sessionAffinity: None}"));
	assert_int_equal(service(f, WEB)->n_extensions, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const Istio__Workload__Extension *x;
		Culvert__Node__Service *m;

		(void)snprintf(yaml, sizeof(yaml),
			       SERVICE("demo", "web", "{ports: [{port: 80}], %s}"),
			       cases[i].fields);
		(void)put(f, yaml);
		assert_int_equal(service(f, WEB)->n_extensions, 1);
		x = service(f, WEB)->extensions[0];
		assert_string_equal(x->name, "culvert.node.Service");
		assert_string_equal(x->config->type_url,
				    "type.googleapis.com/culvert.node.Service");
		m = culvert__node__service__unpack(NULL, x->config->value.len,
						   x->config->value.data);
		assert_int_equal(m->affinity_seconds, cases[i].seconds);
		culvert__node__service__free_unpacked(m, NULL);
	}
}

static void assert_dns_name(const Istio__Workload__Workload *w, const char *host, const char *sub)
{
	Culvert__Node__Workload *m;

	assert_int_equal(w->n_extensions, 1);
	assert_string_equal(w->extensions[0]->name, "culvert.node.Workload");
	m = culvert__node__workload__unpack(NULL, w->extensions[0]->config->value.len,
					    w->extensions[0]->config->value.data);
	assert_string_equal(m->hostname, host);
	assert_string_equal(m->subdomain, sub);
	culvert__node__workload__free_unpacked(m, NULL);
}

static void node_ports_travel_in_the_extension(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__Service *s;
	Culvert__Node__Service *x;

	(void)put(f, SERVICE("demo", "web",
			     "{type: NodePort, externalTrafficPolicy: Local, sessionAffinity: "
			     "ClientIP, ports: ["
			     "{name: a, port: 80, nodePort: 30080}, {name: b, port: 81}, "
			     "{name: c, port: 53, nodePort: 30053, protocol: UDP}]}"));
	s = service(f, WEB);
	x = extension_of(s);
	assert_int_equal(x->n_node_ports, 1);
	assert_int_equal(x->node_ports[0]->node_port, 30080);
	assert_int_equal(x->node_ports[0]->service_port, 80);
	assert_true(x->is_external_local);
	assert_int_equal(x->affinity_seconds, 10800);
	culvert__node__service__free_unpacked(x, NULL);
	(void)put(f, SERVICE("demo", "web", "{externalTrafficPolicy: Local, ports: [{port: 80}]}"));
	assert_int_equal(service(f, WEB)->n_extensions, 0);
}

/* exportTo is told in the same extension. */
static void node_ports_of_a_service_for_some_namespaces(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__Service *s;
	Culvert__Node__Service *x;

	(void)put(f, "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: demo, "
		     "annotations: {networking.istio.io/exportTo: 'a,b'}}\n"
		     "spec: {ports: [{port: 80, nodePort: 30080}]}\n");
	s = service(f, WEB);
	x = extension_of(s);
	assert_int_equal(x->n_node_ports, 1);
	assert_int_equal(x->n_visible_to, 2);
	culvert__node__service__free_unpacked(x, NULL);
}

#define NODE(addresses)                                                                            \
	"apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [" addresses "]}\n"

static void nodes_are_told_with_their_addresses(void **state)
{
	struct fixture *f = *state;
	const Culvert__Node__Node *n;

	assert_string_equal(put(f, NODE("{type: InternalIP, address: 172.18.0.1}, "
					"{type: ExternalIP, address: 'fd18::1'}, "
					"{type: Hostname, address: 172.18.0.9}, "
					"{type: InternalDNS, address: n1.local}, "
					"{type: InternalIP, address: 127.0.0.1}")),
			    "+n1\n");
	n = fixture_get(f, XDS_NODE, "n1", &culvert__node__node__descriptor);
	assert_string_equal(n->name, "n1");
	assert_int_equal(n->n_addresses, 2);
	assert_memory_equal(n->addresses[0].data, "\xac\x12\x00\x01", 4);
	assert_int_equal(n->addresses[1].len, 16);
	/* a heartbeat */
	assert_string_equal(put(f, NODE("{type: InternalIP, address: 172.18.0.1}, "
					"{type: ExternalIP, address: 'fd18::1'}")),
			    "");
	assert_string_equal(put(f, NODE("")), "-n1\n");
	assert_string_equal(put(f, NODE("{type: InternalIP, address: 172.18.0.1}")), "+n1\n");
	assert_string_equal(drop(f, "Node", "", "n1"), "-n1\n");
}

static void nodes_are_told_with_what_their_pods_addresses_are_of(void **state)
{
	struct fixture *f = *state;
	const Culvert__Node__Node *n;

	assert_string_equal(put(f, "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: "
				   "{podCIDR: 10.9.0.0/24, podCIDRs: [10.1.0.0/24, what, 7, "
				   "'fd00:1::/64']}\n"),
			    "+n1\n");
	n = fixture_get(f, XDS_NODE, "n1", &culvert__node__node__descriptor);
	assert_int_equal(n->n_addresses, 0);
	assert_int_equal(n->n_pod_ranges, 2);
	assert_string_equal(n->pod_ranges[0], "10.1.0.0/24");
	assert_string_equal(n->pod_ranges[1], "fd00:1::/64");
	assert_string_equal(put(f, "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: "
				   "{podCIDR: 10.9.0.0/24}\n"),
			    "+n1\n");
	n = fixture_get(f, XDS_NODE, "n1", &culvert__node__node__descriptor);
	assert_int_equal(n->n_pod_ranges, 1);
	assert_string_equal(n->pod_ranges[0], "10.9.0.0/24");
	assert_string_equal(put(f, NODE("")), "-n1\n");
}

static void names_of_single_pods_are_kept(void **state)
{
	struct fixture *f = *state;

	(void)put(f, POD("demo", "web-0", "{}", "{hostname: web-0, subdomain: web}",
			 "{podIP: 10.0.0.1}")
			     POD("demo", "p", "{}", "{hostname: p}", "{podIP: 10.0.0.2}"));
	assert_dns_name(workload(f, "demo/web-0"), "web-0", "web");
	assert_int_equal(workload(f, "demo/p")->n_extensions, 0);
}

#define WEB_POD(name, ip)                                                                          \
	POD("demo", name, "{app: web, v: '1'}",                                                    \
	    "{containers: [{name: c, ports: [{name: tls, containerPort: 8443}]}]}",                \
	    "{podIP: " ip "}")
#define WEB_SERVICE                                                                                \
	SERVICE("demo", "web",                                                                     \
		"{selector: {app: web}, ports: [{name: a, port: 80, targetPort: 8080}, {name: b, " \
		"port: 443, targetPort: tls}]}")

static void a_selector_makes_endpoints_of_pods(void **state)
{
	struct fixture *f = *state;

	(void)put(f, WEB_POD("p", "10.0.0.1")
			     POD("other", "p", "{app: web}", "{}", "{podIP: 10.0.0.2}")
				     POD("demo", "q", "{app: db}", "{}", "{podIP: 10.0.0.3}"));
	assert_string_equal(put(f, WEB_SERVICE), "+" WEB "\n+Kubernetes//Pod/demo/p\n");
	assert_string_equal(ports_of(workload(f, "demo/p"), WEB), "80>8080 443>8443");
	assert_null(ports_of(workload(f, "demo/q"), WEB));
	/* a pod without that named port serves the other one */
	(void)put(f, POD("demo", "q", "{app: web}", "{}", "{podIP: 10.0.0.3}"));
	assert_string_equal(ports_of(workload(f, "demo/q"), WEB), "80>8080");
	assert_string_equal(put(f, SERVICE("demo", "web",
					   "{selector: {app: web, v: '1'}, ports: [{port: 80}]}")),
			    "+" WEB "\n+Kubernetes//Pod/demo/p\n+Kubernetes//Pod/demo/q\n");
	assert_null(ports_of(workload(f, "demo/q"), WEB));
	assert_string_equal(drop(f, "Service", "demo", "web"),
			    "+Kubernetes//Pod/demo/p\n-" WEB "\n");
}

static void an_empty_selector_selects_nothing(void **state)
{
	struct fixture *f = *state;

	(void)put(f, WEB_POD("p", "10.0.0.1") SERVICE("demo", "web", "{ports: [{port: 80}]}"));
	assert_int_equal(workload(f, "demo/p")->n_services, 0);
	(void)put(f, SERVICE("demo", "web", "{selector: {}, ports: [{port: 80}]}"));
	assert_int_equal(workload(f, "demo/p")->n_services, 0);
}

static void slices_decide_where_there_are_any(void **state)
{
	struct fixture *f = *state;

	(void)put(f, WEB_POD("p", "10.0.0.1") WEB_POD("q", "10.0.0.2") WEB_SERVICE);
	assert_string_equal(
		put(f,
		    SLICE("demo", "web-1", "web",
			  "endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}}]\n"
			  "ports: [{name: a, port: 9000}]")),
		"+Kubernetes//Pod/demo/p\n+Kubernetes//Pod/demo/q\n");
	assert_string_equal(ports_of(workload(f, "demo/p"), WEB), "80>9000");
	assert_null(ports_of(workload(f, "demo/q"), WEB));
	/* a pod that is not ready leaves, unless the service wants those too */
	(void)put(f, SLICE("demo", "web-1", "web",
			   "endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}, "
			   "conditions: {ready: false}}]\n"
			   "ports: [{name: a, port: 9000}]"));
	assert_null(ports_of(workload(f, "demo/p"), WEB));
	(void)drop(f, "EndpointSlice", "demo", "web-1");
	assert_string_equal(ports_of(workload(f, "demo/p"), WEB), "80>8080 443>8443");
	assert_string_equal(ports_of(workload(f, "demo/q"), WEB), "80>8080 443>8443");
}

#define OF_P(name, ports)                                                                          \
	SLICE("demo", name, "web",                                                                 \
	      "endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}}]\nports: "     \
	      "[" ports "]")

/* Each in either order: what is told must not hang on it. */
static void slices_of_one_pod_are_put_together(void **state)
{
	static const struct {
		const char *slices, *ports;
	} cases[] = {
		{OF_P("one", "{name: a, port: 9000}") OF_P("two", "{name: b, port: 9443}"),
		 "80>9000 443>9443"},
		{OF_P("one", "{name: b, port: 9443}") OF_P("two", "{name: a, port: 9000}"),
		 "80>9000 443>9443"},
		{OF_P("one", "{name: a, port: 9000}") OF_P("two", "{name: a, port: 9001}"),
		 "80>9000"},
		{OF_P("one", "{name: a, port: 9001}") OF_P("two", "{name: a, port: 9000}"),
		 "80>9000"},
		{OF_P("one", "{name: other, port: 1}") OF_P("two", "{name: b, port: 9443}"),
		 "443>9443"},
	};
	struct fixture *f = *state;

	(void)put(f, WEB_POD("p", "10.0.0.1") WEB_SERVICE);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)put(f, cases[i].slices);
		assert_string_equal(ports_of(workload(f, "demo/p"), WEB), cases[i].ports);
	}
}

#define MANUAL "Kubernetes/discovery.k8s.io/EndpointSlice/demo/ext/192.0.2.7"
#define EXT    "demo/ext.demo.svc.cluster.local"

static void an_address_that_no_pod_has_is_a_workload_without_identity(void **state)
{
	struct fixture *f = *state;
	Istio__Workload__Address *a;

	(void)put(f, SERVICE("demo", "ext", "{ports: [{port: 80}]}"));
	assert_string_equal(
		put(f, SLICE("demo", "ext", "ext",
			     "endpoints: [{addresses: [192.0.2.7]}]\nports: [{port: 8080}]")),
		"+" MANUAL "\n");
	a = fixture_get(f, XDS_ADDRESS, MANUAL, &istio__workload__address__descriptor);
	assert_int_equal(a->workload->network_mode, ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK);
	assert_int_equal(a->workload->tunnel_protocol, ISTIO__WORKLOAD__TUNNEL_PROTOCOL__NONE);
	assert_string_equal(a->workload->service_account, "");
	assert_string_equal(ports_of(a->workload, EXT), "80>8080");
	/* the service goes, and with it what it gave */
	assert_string_equal(drop(f, "Service", "demo", "ext"), "-" EXT "\n-" MANUAL "\n");
	assert_string_equal(put(f, SERVICE("demo", "ext", "{ports: [{port: 80}]}")),
			    "+" EXT "\n+" MANUAL "\n");
	assert_string_equal(drop(f, "EndpointSlice", "demo", "ext"), "-" MANUAL "\n");
}

static void one_address_is_not_taken_for_another(void **state)
{
	static const struct {
		const char *family, *pod, *other;
	} cases[] = {
		{"IPv4", "10.0.0.1", "10.0.0.65"},      {"IPv4", "10.0.0.1", "10.1.0.1"},
		{"IPv4", "10.0.0.1", "192.0.0.1"},      {"IPv6", "fd00::1", "fd00::41"},
		{"IPv6", "fd00::1", "fd00:0:0:1::1"},   {"IPv6", "fd00::1", "2d00::1"},
		{"IPv6", "fd00::1", "fd00::100:0:0:1"}, {"IPv6", "2001::1:2", "2001::2:1"},
	};
	struct fixture *f = *state;

	(void)put(f, SERVICE("demo", "ext", "{ports: [{port: 80}]}"));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char pod[512], slice[512], want[128];

		(void)snprintf(pod, sizeof(pod), POD("demo", "p", "{}", "{}", "{podIP: \"%s\"}"),
			       cases[i].pod);
		(void)snprintf(slice, sizeof(slice),
			       "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: "
			       "{name: ext, namespace: demo, labels: {kubernetes.io/service-name: "
			       "ext}}\naddressType: %s\nendpoints: [{addresses: [\"%s\"]}, "
			       "{addresses: [\"%s\"]}]\n",
			       cases[i].family, cases[i].pod, cases[i].other);
		(void)snprintf(want, sizeof(want),
			       "+Kubernetes/discovery.k8s.io/EndpointSlice/demo/ext/%s\n"
			       "+Kubernetes//Pod/demo/p\n",
			       cases[i].other);
		(void)put(f, pod);
		assert_string_equal(put(f, slice), want);
		(void)drop(f, "EndpointSlice", "demo", "ext");
	}
}

static void a_manual_endpoint_has_its_place_and_name(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__Workload *w;

	(void)put(f, SERVICE("demo", "ext", "{clusterIP: None, ports: [{port: 80}]}")
			     SLICE("demo", "ext", "ext",
				   "endpoints: [{addresses: [192.0.2.7], nodeName: n7, zone: z1, "
				   "hostname: db-0}]\nports: [{port: 80}]"));
	w = ((Istio__Workload__Address *)fixture_get(f, XDS_ADDRESS, MANUAL,
						     &istio__workload__address__descriptor))
		    ->workload;
	assert_string_equal(w->node, "n7");
	assert_string_equal(w->locality->zone, "z1");
	assert_dns_name(w, "db-0", "ext");
	/* its node says more, also when it comes later */
	assert_string_equal(put(f, "apiVersion: v1\nkind: Node\nmetadata: {name: n7, labels: "
				   "{topology.kubernetes.io/region: r, "
				   "topology.kubernetes.io/zone: z1}}\n"),
			    "+" MANUAL "\n");
	w = ((Istio__Workload__Address *)fixture_get(f, XDS_ADDRESS, MANUAL,
						     &istio__workload__address__descriptor))
		    ->workload;
	assert_string_equal(w->locality->region, "r");
}

static void an_address_that_a_pod_has_is_that_pod(void **state)
{
	struct fixture *f = *state;

	(void)put(f, SERVICE("demo", "ext", "{ports: [{port: 80}]}")
			     SLICE("demo", "ext", "ext",
				   "endpoints: [{addresses: [192.0.2.7]}]\nports: [{port: 8080}]"));
	/* else an enrolled pod would be reached in plaintext under its other name */
	assert_string_equal(put(f, POD("demo", "p", "{}", "{}", "{podIP: 192.0.2.7}")),
			    "+Kubernetes//Pod/demo/p\n-" MANUAL "\n");
	assert_string_equal(ports_of(workload(f, "demo/p"), EXT), "80>8080");
	assert_string_equal(drop(f, "Pod", "demo", "p"), "+" MANUAL "\n-Kubernetes//Pod/demo/p\n");
}

static void a_selector_that_matches_nothing_is_told(void **state)
{
	struct fixture *f = *state;

	assert_non_null(strstr(put(f, WEB_SERVICE),
			       "warning f.yaml:4: Service demo/web: spec.selector: "
			       "matches no pod in namespace demo"));
	assert_non_null(strstr(put(f, WEB_POD("p", "10.0.0.1")), "cleared Service demo/web\n"));
	assert_null(strstr(f->text, "warning"));
	assert_non_null(strstr(drop(f, "Pod", "demo", "p"), "warning"));
	assert_non_null(strstr(drop(f, "Service", "demo", "web"), "cleared Service demo/web\n"));
}

static bool selects_mesh(struct fixture *f)
{
	const Istio__Workload__Service *s = service(f, WEB);
	Culvert__Node__Service *x;
	bool is_told;

	if (s->n_extensions == 0)
		return false;
	x = extension_of(s);
	is_told = x->selects_mesh;
	culvert__node__service__free_unpacked(x, NULL);
	return is_told;
}

/* Ready or not, and before the kubelet has told their addresses. */
static void a_service_says_that_it_selects_enrolled_pods(void **state)
{
	struct fixture *f = *state;

	(void)put(f, WEB_SERVICE WEB_POD("outside", "10.0.0.1"));
	assert_false(selects_mesh(f));
	(void)put(f, POD("demo", "p", "{app: web, istio.io/dataplane-mode: ambient}", "{}",
			 "{phase: Pending}"));
	assert_true(selects_mesh(f));
	(void)put(f, POD("demo", "p", "{app: web, istio.io/dataplane-mode: ambient}", "{}",
			 "{phase: Succeeded}"));
	assert_false(selects_mesh(f));
	(void)put(f, NS("demo", "{istio.io/dataplane-mode: ambient}"));
	assert_true(selects_mesh(f));
	(void)drop(f, "Pod", "demo", "outside");
	assert_false(selects_mesh(f));
	(void)put(f, POD("demo", "host", "{app: web}", "{hostNetwork: true}", "{}"));
	assert_false(selects_mesh(f));
	(void)put(f, WEB_POD("outside", "10.0.0.1"));
	assert_true(selects_mesh(f));
	(void)put(f, NS("demo", "{}"));
	assert_false(selects_mesh(f));
	(void)put(f, NS("demo", "{istio.io/dataplane-mode: ambient}"));
	(void)put(f, SERVICE("demo", "web", "{clusterIP: 10.96.0.1, ports: [{port: 80}]}"));
	assert_false(selects_mesh(f));
}

static void a_service_hidden_from_others(void **state)
{
	struct fixture *f = *state;

	(void)put(f, "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: demo, "
		     "annotations: "
		     "{networking.istio.io/exportTo: .}}\nspec: {ports: [{port: 80}]}\n");
	assert_int_equal(service(f, WEB)->visibility, ISTIO__WORKLOAD__VISIBILITY__NAMESPACE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(carries_what_istio_would_send),
		T(external_addresses_are_told_from_the_clusters),
		T(headless_and_external_services),
		T(presets_of_load_balancing),
		T(a_waypoint_that_is_asked_for_is_told_not_to_be_there),
		T(source_ranges_of_a_load_balancer_are_told),
		T(affinity_travels_in_an_extension),
		T(node_ports_travel_in_the_extension),
		T(node_ports_of_a_service_for_some_namespaces),
		T(nodes_are_told_with_their_addresses),
		T(nodes_are_told_with_what_their_pods_addresses_are_of),
		T(names_of_single_pods_are_kept),
		T(a_manual_endpoint_has_its_place_and_name),
		T(a_selector_makes_endpoints_of_pods),
		T(an_empty_selector_selects_nothing),
		T(slices_decide_where_there_are_any),
		T(slices_of_one_pod_are_put_together),
		T(an_address_that_no_pod_has_is_a_workload_without_identity),
		T(one_address_is_not_taken_for_another),
		T(an_address_that_a_pod_has_is_that_pod),
		T(a_selector_that_matches_nothing_is_told),
		T(a_service_hidden_from_others),
		T(a_service_says_that_it_selects_enrolled_pods),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

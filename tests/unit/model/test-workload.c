/* SPDX-License-Identifier: Apache-2.0 */
/* pod, pack_workload - a Pod becomes the workload that Istio's control plane would send. */
#include "base/str.h"
#include "net/addr.h"
#include "tests/unit/model/fixture.h"
#include "userspace/lib/xds/node.pb-c.h"

static void carries_what_istio_would_send(void **state)
{
	struct fixture *f = *state;
	Istio__Workload__Workload *w;

	(void)put(f,
		  NS("demo",
		     "{istio-injection: enabled}") "apiVersion: v1\nkind: Node\nmetadata: {name: "
						   "n1, labels: {topology.kubernetes.io/region: r, "
						   "topology.kubernetes.io/zone: z, "
						   "topology.istio.io/subzone: s}}\n---\n"
						   "apiVersion: v1\nkind: Pod\nmetadata:\n  name: "
						   "web-5f-x\n  namespace: demo\n"
						   "  labels: {app: web, version: v2, "
						   "pod-template-hash: 5f}\n"
						   "  ownerReferences: [{kind: ReplicaSet, name: "
						   "web-5f, controller: true}]\n"
						   "spec: {nodeName: n1, serviceAccountName: "
						   "sa-web}\n"
						   "status: {podIP: 10.0.0.1, podIPs: [{ip: "
						   "10.0.0.1}, {ip: 'fd00::1'}]}\n");
	w = workload(f, "demo/web-5f-x");
	assert_non_null(w);
	assert_string_equal(w->uid, "Kubernetes//Pod/demo/web-5f-x");
	assert_string_equal(w->name, "web-5f-x");
	assert_string_equal(w->namespace_, "demo");
	assert_int_equal(w->n_addresses, 2);
	assert_int_equal(w->addresses[0].len, 4);
	assert_memory_equal(w->addresses[0].data, "\x0a\x00\x00\x01", 4);
	assert_int_equal(w->addresses[1].len, 16);
	assert_string_equal(w->network, "");
	assert_int_equal(w->tunnel_protocol, ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE);
	assert_string_equal(w->trust_domain, "");
	assert_string_equal(w->service_account, "sa-web");
	assert_string_equal(w->node, "n1");
	assert_string_equal(w->canonical_name, "web");
	assert_string_equal(w->canonical_revision, "v2");
	assert_int_equal(w->workload_type, ISTIO__WORKLOAD__WORKLOAD_TYPE__DEPLOYMENT);
	assert_string_equal(w->workload_name, "web");
	assert_int_equal(w->status, ISTIO__WORKLOAD__WORKLOAD_STATUS__HEALTHY);
	assert_string_equal(w->cluster_id, "Kubernetes");
	assert_string_equal(w->locality->region, "r");
	assert_string_equal(w->locality->zone, "z");
	assert_string_equal(w->locality->subzone, "s");
	assert_int_equal(w->network_mode, ISTIO__WORKLOAD__NETWORK_MODE__STANDARD);
	assert_null(w->capacity);
	assert_null(w->waypoint);
}

static uint32_t incarnation(struct fixture *f, const char *uid)
{
	_cleanup_(freep) char *text = str_format("apiVersion: v1\nkind: Pod\n"
						 "metadata: {name: p, namespace: demo%s%s}\n"
						 "status: {podIP: 10.0.0.1}\n",
						 *uid ? ", uid: " : "", uid);
	const Istio__Workload__Workload *w;
	Culvert__Node__Workload *x;
	uint32_t found;

	assert_non_null(text);
	(void)put(f, text);
	w = workload(f, "demo/p");
	assert_string_equal(w->uid, "Kubernetes//Pod/demo/p");
	if (w->n_extensions == 0)
		return 0;
	x = culvert__node__workload__unpack(NULL, w->extensions[0]->config->value.len,
					    w->extensions[0]->config->value.data);
	assert_non_null(x);
	found = x->incarnation;
	culvert__node__workload__free_unpacked(x, NULL);
	return found;
}

static void a_pod_of_the_same_name_and_address_is_told_from_the_one_before(void **state)
{
	struct fixture *f = *state;
	uint32_t first = incarnation(f, "5d3c1f70-0000-4000-8000-000000000001");

	assert_int_not_equal(first, 0);
	assert_int_not_equal(incarnation(f, "5d3c1f70-0000-4000-8000-000000000002"), first);
	/* the same in each process, so that a restart of ours cuts nothing */
	assert_int_equal(incarnation(f, "a"), 0xe40c292c);
	assert_int_equal(incarnation(f, ""), 0);
}

static void fills_in_what_a_bare_pod_lacks(void **state)
{
	struct fixture *f = *state;
	Istio__Workload__Workload *w;

	(void)put(f, POD("demo", "p", "{}", "{}", "{podIP: 10.0.0.1}"));
	w = workload(f, "demo/p");
	assert_int_equal(w->tunnel_protocol, ISTIO__WORKLOAD__TUNNEL_PROTOCOL__NONE);
	assert_string_equal(w->service_account, "default");
	assert_string_equal(w->workload_name, "p");
	assert_int_equal(w->workload_type, ISTIO__WORKLOAD__WORKLOAD_TYPE__POD);
	assert_string_equal(w->canonical_name, "p");
	assert_string_equal(w->canonical_revision, "latest");
	assert_null(w->locality);
	assert_int_equal(w->n_services, 0);
}

static void knows_jobs_and_cron_jobs(void **state)
{
	static const struct {
		const char *owner, *name;
		int type;
	} cases[] = {
		{"{kind: Job, name: back-up, controller: true}", "back-up",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__JOB},
		{"{kind: Job, name: back-up-28123456, controller: true}", "back-up",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__CRONJOB},
		{"{kind: Job, name: back-up-281, controller: true}", "back-up-281",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__JOB},
		{"{kind: StatefulSet, name: db, controller: true}", "db",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__POD},
		{"{kind: ReplicaSet, name: other-77}", "other-77",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__POD},
		{"{kind: Deployment, name: web}", "web",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__DEPLOYMENT},
	};
	struct fixture *f = *state;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const Istio__Workload__Workload *w;

		(void)snprintf(yaml, sizeof(yaml),
			       "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: "
			       "{pod-template-hash: '55'}, "
			       "ownerReferences: [%s]}\nstatus: {podIP: 10.0.0.1}\n",
			       cases[i].owner);
		(void)put(f, yaml);
		w = workload(f, "default/p");
		assert_string_equal(w->workload_name, cases[i].name);
		assert_int_equal(w->workload_type, cases[i].type);
	}
}

/* One series of metrics for what is one workload to its owner, whatever each rollout is called. */
static void is_named_after_what_its_owner_belongs_to(void **state)
{
	static const struct {
		const char *labels, *owner, *name;
		Istio__Workload__WorkloadType type;
	} cases[] = {
		{"rollouts-pod-template-hash: 6c5", "{kind: ReplicaSet, name: ro-6c5}", "ro",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__POD},
		{"rollouts-pod-template-hash: 6c5", "{kind: ReplicaSet, name: ro-77}", "ro-77",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__POD},
		{"rollouts-pod-template-hash: 6c5, pod-template-hash: a1",
		 "{kind: ReplicaSet, name: ro-a1}", "ro",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__DEPLOYMENT},
		{"deploymentconfig: dc", "{kind: ReplicationController, name: dc-1}", "dc",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__POD},
		{"tier: dc", "{kind: ReplicationController, name: dc-1}", "dc-1",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__POD},
		{"deploymentconfig: dc", "{kind: StatefulSet, name: db}", "db",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__POD},
		/* the label names it, the owner says what it is */
		{"service.istio.io/workload-name: mine, pod-template-hash: a1",
		 "{kind: ReplicaSet, name: web-a1}", "mine",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__DEPLOYMENT},
		{"service.istio.io/workload-name: mine", "{kind: Job, name: back-up-28123456}",
		 "mine", ISTIO__WORKLOAD__WORKLOAD_TYPE__CRONJOB},
		{"service.istio.io/workload-name: ''", "{kind: StatefulSet, name: db}", "db",
		 ISTIO__WORKLOAD__WORKLOAD_TYPE__POD},
	};
	struct fixture *f = *state;
	char yaml[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const Istio__Workload__Workload *w;

		(void)snprintf(yaml, sizeof(yaml),
			       "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {%s}, "
			       "ownerReferences: [%s]}\nstatus: {podIP: 10.0.0.1}\n",
			       cases[i].labels, cases[i].owner);
		(void)put(f, yaml);
		w = workload(f, "default/p");
		if (!streq(w->workload_name, cases[i].name) || w->workload_type != cases[i].type)
			fail_msg("case %zu: %s, %d", i, w->workload_name, w->workload_type);
		/* nothing else names it */
		assert_string_equal(w->canonical_name, cases[i].name);
	}
}

static void readiness_comes_from_the_conditions(void **state)
{
	static const struct {
		const char *yaml;
		bool is_healthy;
	} cases[] = {
		{POD("d", "p", "{}", "{}",
		     "{podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True'}]}"),
		 true},
		{POD("d", "p", "{}", "{}",
		     "{podIP: 10.0.0.1, conditions: [{type: Ready, status: 'False'}]}"),
		 false},
		{POD("d", "p", "{}", "{}",
		     "{podIP: 10.0.0.1, conditions: [{type: Initialized, status: 'False'}]}"),
		 true},
		{"apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: d, deletionTimestamp: "
		 "'2026-11-21T00:00:00Z'}\n"
		 "status: {podIP: 10.0.0.1}\n",
		 false},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)put(f, cases[i].yaml);
		assert_int_equal(workload(f, "d/p")->status ==
					 ISTIO__WORKLOAD__WORKLOAD_STATUS__HEALTHY,
				 cases[i].is_healthy);
	}
}

static void pods_without_address_or_past_their_end_are_not_sent(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(put(f, POD("d", "p", "{}", "{}", "{}")), "");
	assert_string_equal(put(f, POD("d", "p", "{}", "{}", "{podIP: 10.0.0.1}")),
			    "+Kubernetes//Pod/d/p\n");
	assert_string_equal(
		put(f, POD("d", "p", "{}", "{}", "{podIP: 10.0.0.1, phase: Succeeded}")),
		"-Kubernetes//Pod/d/p\n");
	assert_string_equal(put(f, POD("d", "p", "{}", "{}", "{podIP: 10.0.0.1, phase: Running}")),
			    "+Kubernetes//Pod/d/p\n");
	assert_string_equal(drop(f, "Pod", "d", "p"), "-Kubernetes//Pod/d/p\n");
	assert_string_equal(drop(f, "Pod", "d", "p"), "");
}

static void host_network_pods_say_so(void **state)
{
	struct fixture *f = *state;
	const Istio__Workload__Workload *w;

	(void)put(f, NS("d", "{istio-injection: enabled}")
			     POD("d", "p", "{}", "{hostNetwork: true}", "{podIP: 192.168.0.1}"));
	w = workload(f, "d/p");
	assert_int_equal(w->network_mode, ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK);
	assert_int_equal(w->tunnel_protocol, ISTIO__WORKLOAD__TUNNEL_PROTOCOL__NONE);
}

static void loopback_and_doubled_addresses_are_left_out(void **state)
{
	struct fixture *f = *state;

	(void)put(f, POD("d", "p", "{}", "{}",
			 "{podIP: 127.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: '::ffff:10.0.0.1'}, "
			 "{ip: '::'}]}"));
	assert_int_equal(workload(f, "d/p")->n_addresses, 1);
}

static void a_label_on_the_namespace_enrols_its_pods_alone(void **state)
{
	struct fixture *f = *state;

	(void)put(f, NS("a", "{}") NS("b", "{}") POD("a", "p", "{}", "{}", "{podIP: 10.0.0.1}")
			     POD("b", "q", "{}", "{}", "{podIP: 10.0.0.2}"));
	assert_string_equal(put(f, NS("a", "{istio-injection: enabled}")),
			    "+Kubernetes//Pod/a/p\n");
	assert_int_equal(workload(f, "a/p")->tunnel_protocol,
			 ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE);
	assert_string_equal(put(f, NS("a", "{istio-injection: enabled, other: x}")), "");
	assert_string_equal(drop(f, "Namespace", "", "a"), "+Kubernetes//Pod/a/p\n");
}

static void a_change_of_the_node_reaches_its_pods(void **state)
{
	struct fixture *f = *state;

	(void)put(f, POD("d", "p", "{}", "{nodeName: n1}", "{podIP: 10.0.0.1}")
			     POD("d", "q", "{}", "{nodeName: n2}", "{podIP: 10.0.0.2}"));
	assert_string_equal(put(f, "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: "
				   "{topology.kubernetes.io/zone: z}}\n"),
			    "+Kubernetes//Pod/d/p\n");
	assert_string_equal(put(f, "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: "
				   "{topology.kubernetes.io/zone: z, a: b}}\n"),
			    "");
	assert_string_equal(drop(f, "Node", "", "n1"), "+Kubernetes//Pod/d/p\n");
}

/* "ADDRESS:PORT>PORT" of each hostPort that is told of demo/p. */
static const char *host_ports(struct fixture *f)
{
	const Istio__Workload__Workload *w = workload(f, "demo/p");
	static char text[512];
	char addr[CV_ADDR_STRLEN];
	Culvert__Node__Workload *x;
	struct cv_addr a;
	size_t n = 0;

	text[0] = '\0';
	if (w->n_extensions == 0)
		return text;
	x = culvert__node__workload__unpack(NULL, w->extensions[0]->config->value.len,
					    w->extensions[0]->config->value.data);
	assert_non_null(x);
	for (size_t i = 0; i < x->n_host_ports; i++) {
		const Culvert__Node__HostPort *p = x->host_ports[i];

		assert_int_equal(cv_addr_from_bytes(p->address.data, p->address.len, &a), 0);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s:%u>%u ",
				      cv_addr_format(&a, addr), p->host_port, p->target_port);
	}
	culvert__node__workload__free_unpacked(x, NULL);
	return text;
}

#define NODE(name, addresses)                                                                      \
	"apiVersion: v1\nkind: Node\nmetadata: {name: " name "}\n"                                 \
	"status: {addresses: [" addresses "]}\n---\n"
#define NODE_4 "{type: InternalIP, address: 172.18.0.1}"
#define NODE_6 "{type: InternalIP, address: 'fd18::1'}"
#define BOTH   "{podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}"

static void host_ports_are_told_at_the_nodes_addresses(void **state)
{
	struct fixture *f = *state;

	(void)put(f, POD("demo", "p", "{}",
			 "{nodeName: n1, containers: [{name: c, ports: [{containerPort: 80, "
			 "hostPort: 8080}, {containerPort: 53, hostPort: 53, protocol: UDP}, "
			 "{containerPort: 81}]}]}",
			 BOTH));
	assert_string_equal(host_ports(f), ""); /* nobody knows where its node is */
	assert_string_equal(put(f, NODE("n1", NODE_4 ", " NODE_6)),
			    "+n1\n+Kubernetes//Pod/demo/p\n");
	assert_string_equal(host_ports(f), "172.18.0.1:8080>80 fd18::1:8080>80 ");
	(void)put(f, NODE("n2", "{type: InternalIP, address: 172.18.0.2}"));
	assert_string_equal(host_ports(f), "172.18.0.1:8080>80 fd18::1:8080>80 ");
	(void)put(f, NODE("n1", "{type: Hostname, address: 172.18.0.9}, " NODE_6));
	assert_string_equal(host_ports(f), "fd18::1:8080>80 ");
	assert_string_equal(drop(f, "Node", "", "n1"), "+Kubernetes//Pod/demo/p\n-n1\n");
	assert_string_equal(host_ports(f), "");
}

/* A CNI leads there when it makes the pod's network, the kubelet tells the address later. */
static void host_ports_are_told_before_their_pod_has_an_address(void **state)
{
#define EARLY(more, status)                                                                        \
	POD("demo", "p", "{app: web" more "}",                                                     \
	    "{nodeName: n1, containers: [{name: c, ports: [{containerPort: 80, hostPort: "         \
	    "8080}]}]}",                                                                           \
	    status)
	struct fixture *f = *state;
	const Istio__Workload__Workload *w;

	(void)put(f, NODE("n1", NODE_4 ", " NODE_6));
	(void)put(f, SERVICE("demo", "web",
			     "{clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80}]}"));
	/* outside the mesh it is nothing to anybody, and without a node or hostPort, too */
	(void)put(f, EARLY("", "{}"));
	assert_null(workload(f, "demo/p"));
	(void)put(f, NS("demo", "{istio.io/dataplane-mode: ambient}"));
	(void)put(f, POD("demo", "q", "{}", "{nodeName: n1}", "{}"));
	assert_null(workload(f, "demo/q"));
	w = workload(f, "demo/p");
	assert_non_null(w);
	assert_int_equal(w->tunnel_protocol, ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE);
	assert_int_equal(w->n_addresses, 0);
	assert_int_equal(w->n_services, 0);
	assert_string_equal(host_ports(f), "172.18.0.1:8080>80 fd18::1:8080>80 ");
	(void)put(f, EARLY("", "{podIP: 10.0.0.1}"));
	assert_string_equal(host_ports(f), "172.18.0.1:8080>80 ");
	assert_int_equal(workload(f, "demo/p")->n_services, 1);
	(void)put(f, EARLY(", istio.io/dataplane-mode: none", "{}"));
	assert_null(workload(f, "demo/p"));
	(void)put(f, EARLY("", "{}"));
	assert_non_null(workload(f, "demo/p"));
	(void)put(f, NS("demo", "{}"));
	assert_null(workload(f, "demo/p"));
#undef EARLY
}

static void what_a_cni_maps_to_a_pod(void **state)
{
	static const struct {
		const char *spec, *status, *told;
	} cases[] = {
#define PORTS(more) "containers: [{name: c, ports: [{containerPort: 80, hostPort: 8080" more "}]}]"
		{PORTS(""), "{podIP: 10.0.0.1}", "172.18.0.1:8080>80 "}, /* its families only */
		{PORTS(""), "{podIP: 'fd00::1'}", "fd18::1:8080>80 "},
		{PORTS(", hostIP: 172.18.0.1"), BOTH, "172.18.0.1:8080>80 "},
		{PORTS(", hostIP: 'fd18::1'"), BOTH, "fd18::1:8080>80 "},
		{PORTS(", hostIP: 0.0.0.0"), BOTH, "172.18.0.1:8080>80 "},
		{PORTS(", hostIP: '::'"), BOTH, "fd18::1:8080>80 "},
		{PORTS(", hostIP: 127.0.0.1"), BOTH, ""},
		{PORTS(", hostIP: 8.8.8.8"), BOTH, ""}, /* nobody takes what is not its node's */
		{PORTS(", protocol: SCTP"), BOTH, ""},
		{PORTS("") ", hostNetwork: true", BOTH, ""},
		{"initContainers: [{name: i, ports: [{containerPort: 80, hostPort: 8080}]}, "
		 "{name: s, restartPolicy: Always, ports: [{containerPort: 81, hostPort: 8081}]}]",
		 "{podIP: 10.0.0.1}", "172.18.0.1:8081>81 "},
	};
	struct fixture *f = *state;
	char yaml[1024];

	(void)put(f, NODE("n1", NODE_4 ", " NODE_6));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(yaml, sizeof(yaml),
			       "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: demo}\n"
			       "spec: {nodeName: n1, %s}\nstatus: %s\n",
			       cases[i].spec, cases[i].status);
		(void)put(f, yaml);
		assert_string_equal(host_ports(f), cases[i].told);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(carries_what_istio_would_send),
		T(a_pod_of_the_same_name_and_address_is_told_from_the_one_before),
		T(fills_in_what_a_bare_pod_lacks),
		T(knows_jobs_and_cron_jobs),
		T(is_named_after_what_its_owner_belongs_to),
		T(readiness_comes_from_the_conditions),
		T(pods_without_address_or_past_their_end_are_not_sent),
		T(host_network_pods_say_so),
		T(loopback_and_doubled_addresses_are_left_out),
		T(a_label_on_the_namespace_enrols_its_pods_alone),
		T(a_change_of_the_node_reaches_its_pods),
		T(host_ports_are_told_at_the_nodes_addresses),
		T(host_ports_are_told_before_their_pod_has_an_address),
		T(what_a_cni_maps_to_a_pod),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

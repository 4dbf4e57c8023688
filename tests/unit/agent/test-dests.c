/* SPDX-License-Identifier: Apache-2.0 */
/* dests - Address resources become entries, by delta and without a gap. */
#include "tests/unit/agent/dests-fixture.h"

static const uint8_t junk[] = {0x0a, 0xff, 0xff, 0xff, 0x7f};

static void workloads_outside_the_mesh_are_no_destinations(void **state)
{
	struct dests *d = *state;
	struct cv_addr addr;

	assert_int_equal(cv_addr_parse("10.0.0.1", &addr), 0);
	assert_int_equal(put_workload(d, "a", "10.0.0.1", false, NULL), 0);
	assert_calls("+o10.0.0.1:0=demo/a ");
	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, NULL), 0);
	assert_calls("+w10.0.0.1:0=demo/a ");
	assert_true(dests_has(d, DESTS_WORKLOADS, &addr));
	assert_int_equal(put_workload(d, "a", "10.0.0.1", false, NULL), 0);
	assert_calls("+o10.0.0.1:0= ");
	dests_remove(d, "a");
	dests_remove(d, "a");
	assert_calls("-w10.0.0.1:0 ");
}

static void a_changed_workload_is_never_missing(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_workload(d, "a", "fd00::1", true, NULL), 0);
	assert_int_equal(put_workload(d, "a", "fd00::1", true, NULL), 0);
	assert_calls("+wfd00::1:0=demo/a +wfd00::1:0=demo/a ");
	assert_int_equal(put_workload(d, "a", "fd00::2", true, NULL), 0);
	assert_calls("+wfd00::2:0=demo/a ~wfd00::1:0 ");
}

static void a_shared_address_stays_until_its_last_user_goes(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_workload(d, "old", "10.0.0.1", true, NULL), 0);
	assert_int_equal(put_workload(d, "new", "10.0.0.1", true, NULL), 0);
	calls[0] = '\0';
	dests_remove(d, "old");
	assert_calls("");
	dests_remove(d, "new");
	assert_calls("~w10.0.0.1:0 ");
}

static void a_service_needs_one_endpoint_in_the_mesh(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_service(d, "demo/web", "10.96.0.1", 80), 0);
	assert_int_equal(put_workload(d, "a", "10.0.0.1", false, "demo/web"), 0);
	assert_calls("+o10.0.0.1:0=demo/a ");
	assert_int_equal(put_workload(d, "b", "10.0.0.2", true, "demo/web"), 0);
	assert_calls("+w10.0.0.2:0=demo/b +s10.96.0.1:80=demo/web ");
	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, "demo/web"), 0);
	dests_remove(d, "b");
	assert_calls("+w10.0.0.1:0=demo/a ~w10.0.0.2:0 ");
	assert_int_equal(put_workload(d, "a", "10.0.0.1", false, "demo/web"), 0);
	assert_calls("+o10.0.0.1:0= -s10.96.0.1:80 ");
}

static int put_selecting(struct dests *d, bool selects_mesh)
{
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;
	Culvert__Node__Service x = CULVERT__NODE__SERVICE__INIT;

	x.selects_mesh = selects_mesh;
	s.canonical = true;
	s.n_extensions = 1;
	s.extensions = extension_of(XDS_EXTENSION_SERVICE, &x.base);
	return put_service_of(d, "demo/web", "10.96.0.1", 80, &s);
}

/* Whoever balances besides us may hear of the first endpoint before we do. */
static void a_service_whose_pods_are_enrolled_needs_no_endpoint(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_selecting(d, false), 0);
	assert_calls("");
	assert_int_equal(put_selecting(d, true), 0);
	assert_calls("+s10.96.0.1:80=demo/web ");
	assert_int_equal(put_workload(d, "a", "10.0.0.1", false, "demo/web"), 0);
	dests_remove(d, "a");
	assert_calls("+o10.0.0.1:0=demo/a -w10.0.0.1:0 ");
	/* it is still there: nothing lingers */
	assert_int_equal(put_selecting(d, false), 0);
	assert_calls("-s10.96.0.1:80 ");
}

/* kube-proxy hears of it later than we do: until then its way would be one in plaintext. */
static void a_service_that_lost_its_last_endpoint_stays_in_the_mesh(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_service(d, "demo/web", "10.96.0.1", 80), 0);
	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, "demo/web"), 0);
	assert_calls("+w10.0.0.1:0=demo/a +s10.96.0.1:80=demo/web ");
	dests_remove(d, "a");
	assert_calls("~w10.0.0.1:0 ");
	/* changed, it is still one */
	assert_int_equal(put_service(d, "demo/web", "10.96.0.2", 80), 0);
	assert_calls("+s10.96.0.2:80=demo/web ~s10.96.0.1:80 ");
	assert_int_equal(put_workload(d, "b", "10.0.0.2", true, "demo/web"), 0);
	assert_int_equal(put_workload(d, "b", "10.0.0.2", true, "demo/other"), 0);
	assert_calls("+w10.0.0.2:0=demo/b +w10.0.0.2:0=demo/b ");
	/* an endpoint outside the mesh, and no other */
	assert_int_equal(put_workload(d, "c", "10.0.0.3", false, "demo/web"), 0);
	assert_calls("+o10.0.0.3:0=demo/c -s10.96.0.2:80 ");
	dests_remove(d, "c");
	assert_calls("-w10.0.0.3:0 ");
	dests_remove(d, "demo/web");
	assert_calls("");
}

static void a_new_service_is_not_what_its_namesake_was(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_service(d, "demo/web", "10.96.0.1", 80), 0);
	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, "demo/web"), 0);
	dests_remove(d, "a");
	dests_remove(d, "demo/web");
	assert_calls("+w10.0.0.1:0=demo/a +s10.96.0.1:80=demo/web ~w10.0.0.1:0 ~s10.96.0.1:80 ");
	assert_int_equal(put_service(d, "demo/web", "10.96.0.3", 80), 0);
	assert_calls("");
}

/* A ServiceEntry's address exists in the mesh alone: kube-proxy does not know it. */
static void a_service_entry_is_always_ours_unless_it_passes_through(void **state)
{
	struct dests *d = *state;
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;
	Istio__Workload__LoadBalancing lb = ISTIO__WORKLOAD__LOAD_BALANCING__INIT;

	assert_int_equal(put_service_of(d, "demo/api", "240.240.0.1", 443, &s), 0);
	assert_calls("+e240.240.0.1:443=demo/web ");
	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, "demo/api"), 0);
	assert_calls("+w10.0.0.1:0=demo/a ");
	dests_remove(d, "a");
	assert_calls("~w10.0.0.1:0 ");
	lb.mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH;
	s.load_balancing = &lb;
	assert_int_equal(put_service_of(d, "demo/api", "240.240.0.1", 443, &s), 0);
	assert_calls("-s240.240.0.1:443 ");
	dests_remove(d, "demo/api");
	assert_calls("");
}

/* As istiod has it of the oldest one of each host. */
static void a_service_entry_is_ours_also_where_it_is_canonical(void **state)
{
	static const char *const others[] = {
		"api.example.com",
		"web.demo.svc",
		"web.demo.example.com",
		"web.other.svc.cluster.local",
		"webs.demo.svc.cluster.local",
		"*.demo.svc.cluster.local",
		"web",
	};
	struct dests *d = *state;
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;

	s.canonical = true;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		s.hostname = (char *)(uintptr_t)others[i];
		assert_int_equal(put_service_of(d, "demo/api", "240.240.0.1", 443, &s), 0);
		assert_calls("+e240.240.0.1:443=demo/web ");
		dests_remove(d, "demo/api");
		assert_calls("-s240.240.0.1:443 ");
	}
	s.hostname = (char *)(uintptr_t) "web.demo.svc.corp.example";
	assert_int_equal(put_service_of(d, "demo/api", "10.96.0.1", 443, &s), 0);
	assert_calls("");
}

/* The way of a Service's is kube-proxy's, too: in plaintext nobody goes there. */
static void an_address_that_a_service_has_is_not_an_entrys_alone(void **state)
{
	struct dests *d = *state;
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;

	assert_int_equal(put_service(d, "demo/web", "10.96.0.1", 80), 0);
	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, "demo/web"), 0);
	assert_calls("+w10.0.0.1:0=demo/a +s10.96.0.1:80=demo/web ");
	assert_int_equal(put_service_of(d, "demo/api", "10.96.0.1", 80, &s), 0);
	assert_calls("");
	dests_remove(d, "demo/web");
	assert_calls("+e10.96.0.1:80=demo/web ");
	assert_int_equal(put_service(d, "demo/web", "10.96.0.1", 80), 0);
	assert_calls("+s10.96.0.1:80=demo/web ");
	dests_remove(d, "demo/api");
	assert_calls("");
}

static void endpoints_may_come_before_their_service(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_workload(d, "b", "10.0.0.2", true, "demo/web"), 0);
	calls[0] = '\0';
	assert_int_equal(put_service(d, "demo/web", "10.96.0.1", 80), 0);
	assert_calls("+s10.96.0.1:80=demo/web ");
	assert_int_equal(put_service(d, "demo/web", "10.96.0.1", 81), 0);
	assert_calls("+s10.96.0.1:81=demo/web ~s10.96.0.1:80 ");
	dests_remove(d, "demo/web");
	assert_calls("~s10.96.0.1:81 ");
}

static int put_node(struct dests *d, const char *name, const char *ip)
{
	Culvert__Node__Node m = CULVERT__NODE__NODE__INIT;
	uint8_t bytes[16], packed[256];
	ProtobufCBinaryData data = {.data = bytes};
	struct cv_addr addr;

	assert_int_equal(cv_addr_parse(ip, &addr), 0);
	data.len = cv_addr_bytes(&addr, bytes);
	m.name = (char *)name;
	m.n_addresses = 1;
	m.addresses = &data;
	return dests_put_node(d, name, packed, culvert__node__node__pack(&m, packed));
}

static void a_node_may_have_the_address_of_a_pod_that_is_gone(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, NULL), 0);
	dests_remove(d, "a");
	assert_int_equal(put_node(d, "n1", "10.0.0.1"), 0);
	dests_end(d, UINT64_MAX, SIZE_MAX);
	assert_calls("+w10.0.0.1:0=demo/a ~w10.0.0.1:0 +n10.0.0.1:0=node/n1 ");
}

static void node_ports_are_at_no_address_and_nodes_beside_workloads(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_node(d, "n1", "172.18.0.1"), 0);
	assert_calls("+n172.18.0.1:0=node/n1 ");
	assert_int_equal(put_service_at(d, "demo/web", 30080), 0);
	assert_calls("");
	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, "demo/web"), 0);
	assert_calls("+w10.0.0.1:0=demo/a +s10.96.0.1:80=demo/web +s:::30080=demo/web ");
	assert_int_equal(put_service_at(d, "demo/web", 30081), 0);
	assert_calls("+s10.96.0.1:80=demo/web +s:::30081=demo/web ~s:::30080 ");
	assert_int_equal(put_node(d, "n1", "172.18.0.2"), 0);
	assert_calls("+n172.18.0.2:0=node/n1 -w172.18.0.1:0 ");
	assert_int_equal(dests_put_node(d, "n1", junk, sizeof(junk)), -EBADMSG);
	/* another node of that name's address, and a workload of it */
	assert_int_equal(put_node(d, "n2", "172.18.0.2"), 0);
	assert_int_equal(put_workload(d, "b", "172.18.0.2", true, NULL), 0);
	assert_calls("+n172.18.0.2:0=node/n2 +w172.18.0.2:0=demo/b ");
	dests_remove_node(d, "n1");
	dests_remove_node(d, "n1");
	dests_remove_node(d, "n2");
	assert_int_equal(put_node(d, "n2", "172.18.0.2"), 0);
	assert_calls("");
	dests_remove(d, "b");
	assert_calls("+n172.18.0.2:0=demo/b ");
	dests_remove_node(d, "n2");
	assert_calls("-w172.18.0.2:0 ");
	/* outside the mesh: as a service's own address */
	assert_int_equal(put_workload(d, "a", "10.0.0.1", false, "demo/web"), 0);
	assert_calls("+o10.0.0.1:0= -s10.96.0.1:80 -s:::30081 ");
}

static void a_host_port_is_there_while_its_pod_is_in_the_mesh(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_host_port(d, "a", "10.0.0.1", false, 8080), 0);
	assert_calls("+o10.0.0.1:0=demo/a ");
	assert_int_equal(put_host_port(d, "a", "10.0.0.1", true, 8080), 0);
	assert_calls("+w10.0.0.1:0=demo/a +s172.18.0.1:8080=demo/a ");
	assert_int_equal(put_host_port(d, "a", "10.0.0.1", true, 8081), 0);
	assert_calls("+w10.0.0.1:0=demo/a +s172.18.0.1:8081=demo/a ~s172.18.0.1:8080 ");
	/* the pod after it, before the first is gone */
	assert_int_equal(put_host_port(d, "b", "10.0.0.2", true, 8081), 0);
	dests_remove(d, "a");
	assert_calls("+w10.0.0.2:0=demo/b +s172.18.0.1:8081=demo/b ~w10.0.0.1:0 ");
	dests_registry(d, true);
	assert_int_equal(put_host_port(d, "b", "10.0.0.2", false, 8081), 0);
	assert_calls("+k10.0.0.2:0=demo/b +o10.0.0.2:0= -s172.18.0.1:8081 ");
}

/* As an endpoint of demo/web at one port. */
static int put_workload_at(struct dests *d, const char *name, uint32_t port, uint32_t target)
{
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Istio__Workload__WorkloadService s = ISTIO__WORKLOAD__WORKLOAD_SERVICE__INIT, *list = &s;
	Istio__Workload__PortList ports = ISTIO__WORKLOAD__PORT_LIST__INIT;
	Istio__Workload__Port p = ISTIO__WORKLOAD__PORT__INIT, *one = &p;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	ProtobufCBinaryData addr = {.len = 4, .data = (uint8_t *)"\x0a\0\0\1"};

	p.service_port = port;
	p.target_port = target;
	ports.n_ports = 1;
	ports.ports = &one;
	s.key = (char *)"demo/web";
	s.value = &ports;
	w.namespace_ = (char *)"demo";
	w.name = (char *)(uintptr_t)name;
	w.tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	w.n_addresses = 1;
	w.addresses = &addr;
	w.n_services = 1;
	w.services = &list;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &w;
	return put(d, name, &a);
}

/* Of what is refused nothing is known, and so it is dialled in plaintext. */
static void a_port_that_is_none_hides_nothing_else(void **state)
{
	static const uint32_t numbers[] = {0, 65536, 65616, UINT32_MAX};
	struct dests *d = *state;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		uint32_t n = numbers[i];

		assert_int_equal(put_workload_at(d, "a", n, n), 0);
		assert_calls("+w10.0.0.1:0=demo/a ");
		assert_int_equal(put_workload_at(d, "a", 80, n), 0);
		assert_calls("+w10.0.0.1:0=demo/a ");
		assert_int_equal(put_service_at(d, "demo/web", n), 0);
		assert_calls("+s10.96.0.1:80=demo/web ");
		assert_int_equal(put_service(d, "demo/web", "10.96.0.1", n), 0);
		assert_calls("~s10.96.0.1:80 ");
		assert_int_equal(put_host_port(d, "a", "10.0.0.1", true, n), 0);
		assert_calls("+w10.0.0.1:0=demo/a ");
	}
}

static void what_is_wrong_leaves_the_old_one_in_force(void **state)
{
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	ProtobufCBinaryData five = {.len = 5, .data = (uint8_t *)"12345"};
	struct dests *d = *state;
	struct cv_addr addr;

	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, NULL), 0);
	calls[0] = '\0';
	assert_int_equal(dests_put(d, "a", junk, sizeof(junk)), -EBADMSG);
	assert_int_equal(dests_put(d, "a", "", 0), -EBADMSG);
	w.n_addresses = 1;
	w.addresses = &five;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &w;
	assert_int_equal(put(d, "a", &a), -EBADMSG);
	assert_calls("");
	assert_int_equal(cv_addr_parse("10.0.0.1", &addr), 0);
	assert_true(dests_has(d, DESTS_WORKLOADS, &addr));
}

static void a_range_of_ours_is_a_destination_of_the_mesh(void **state)
{
	struct dests *d = *state;
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;

	assert_int_equal(put_service_of(d, "demo/api", "10.1.2.3/16", 443, &s), 0);
	assert_calls("+R10.1.0.0:443=demo/web ");
	assert_int_equal(put_service_of(d, "demo/api", "fd00:1::5/32", 443, &s), 0);
	assert_calls("+Rfd00:1:::443=demo/web -r10.1.0.0:443 ");
	dests_remove(d, "demo/api");
	assert_calls("-rfd00:1:::443 ");
}

static void the_registry_is_told_while_it_is_wanted(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put_workload(d, "a", "10.0.0.1", false, "demo/web"), 0);
	assert_int_equal(put_service(d, "demo/web", "10.96.0.1", 80), 0);
	assert_calls("+o10.0.0.1:0=demo/a ");
	dests_registry(d, true);
	assert_non_null(strstr(calls, "+k10.0.0.1:0=demo/a "));
	assert_non_null(strstr(calls, "+k10.96.0.1:80=demo/web "));
	calls[0] = '\0';
	/* becomes one of the mesh, without a moment as neither */
	assert_int_equal(put_workload(d, "a", "10.0.0.1", true, "demo/web"), 0);
	assert_calls("+w10.0.0.1:0=demo/a +s10.96.0.1:80=demo/web -k10.96.0.1:80 -k10.0.0.1:0 ");
	assert_int_equal(put_workload(d, "a", "10.0.0.1", false, "demo/web"), 0);
	assert_calls("+k10.0.0.1:0=demo/a +o10.0.0.1:0= +k10.96.0.1:80=demo/web -s10.96.0.1:80 ");
	dests_registry(d, false);
	assert_non_null(strstr(calls, "-k10.0.0.1:0 "));
	assert_non_null(strstr(calls, "-k10.96.0.1:80 "));
	calls[0] = '\0';
	dests_remove(d, "a");
	dests_remove(d, "demo/web");
	assert_calls("-w10.0.0.1:0 ");
}

/* A node's address is not one pod's: only its services' ports are known. */
static void an_address_of_the_host_is_known_at_its_ports(void **state)
{
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	struct dests *d = *state;

	w.network_mode = ISTIO__WORKLOAD__NETWORK_MODE__HOST_NETWORK;
	dests_registry(d, true);
	assert_int_equal(put_workload_of(d, "a", "172.18.0.2", "demo/web", &w), 0);
	assert_calls("+k172.18.0.2:8080=demo/a ");
	dests_remove(d, "a");
	assert_calls("-k172.18.0.2:8080 ");
}

static void a_service_that_passes_through_is_only_known(void **state)
{
	Istio__Workload__LoadBalancing lb = ISTIO__WORKLOAD__LOAD_BALANCING__INIT;
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;
	struct dests *d = *state;

	lb.mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH;
	s.load_balancing = &lb;
	dests_registry(d, true);
	assert_int_equal(put_service_of(d, "demo/api", "192.0.2.0/24", 443, &s), 0);
	assert_calls("+r192.0.2.0:443=demo/web ");
	/* without an address: any, at its port */
	assert_int_equal(put_service_of(d, "demo/api", NULL, 443, &s), 0);
	assert_calls("+r0.0.0.0:443=demo/web +r:::443=demo/web -r192.0.2.0:443 ");
}

/* Its names have addresses of the mesh, its TCP port is one of any host besides. */
static void an_open_port_of_a_service_of_ours_is_known_and_not_captured(void **state)
{
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;
	Culvert__Node__Service x = CULVERT__NODE__SERVICE__INIT;
	struct dests *d = *state;

	x.is_open = true;
	s.extensions = extension_of(XDS_EXTENSION_SERVICE, &x.base);
	s.n_extensions = 1;
	assert_int_equal(put_service_of(d, "demo/api", "241.0.7.0/24", 9000, &s), 0);
	assert_calls("+R241.0.7.0:9000=demo/web ");
	dests_registry(d, true);
	assert_calls("+r0.0.0.0:9000=demo/web +r:::9000=demo/web ");
	assert_int_equal(put_service_of(d, "demo/api", "241.0.8.0/24", 9000, &s), 0);
	assert_calls("+R241.0.8.0:9000=demo/web +r0.0.0.0:9000=demo/web +r:::9000=demo/web "
		     "-r241.0.7.0:9000 ");
	dests_registry(d, false);
	assert_calls("-r0.0.0.0:9000 -r:::9000 ");
	dests_registry(d, true);
	calls[0] = '\0';
	dests_remove(d, "demo/api");
	assert_calls("-r241.0.8.0:9000 -r0.0.0.0:9000 -r:::9000 ");
}

static void a_range_that_two_have_is_the_meshs_while_one_is(void **state)
{
	Istio__Workload__LoadBalancing lb = ISTIO__WORKLOAD__LOAD_BALANCING__INIT;
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;
	struct dests *d = *state;

	dests_registry(d, true);
	assert_int_equal(put_service_of(d, "demo/ours", "192.0.2.0/24", 443, &s), 0);
	lb.mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH;
	s.load_balancing = &lb;
	assert_int_equal(put_service_of(d, "demo/api", "192.0.2.0/24", 443, &s), 0);
	assert_calls("+R192.0.2.0:443=demo/web ");
	dests_remove(d, "demo/ours");
	assert_calls("+r192.0.2.0:443= ");
	dests_remove(d, "demo/api");
	assert_calls("-r192.0.2.0:443 ");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(workloads_outside_the_mesh_are_no_destinations),
		T(a_changed_workload_is_never_missing),
		T(a_shared_address_stays_until_its_last_user_goes),
		T(a_service_that_lost_its_last_endpoint_stays_in_the_mesh),
		T(a_new_service_is_not_what_its_namesake_was),
		T(a_service_needs_one_endpoint_in_the_mesh),
		T(a_service_whose_pods_are_enrolled_needs_no_endpoint),
		T(a_service_entry_is_always_ours_unless_it_passes_through),
		T(a_service_entry_is_ours_also_where_it_is_canonical),
		T(an_address_that_a_service_has_is_not_an_entrys_alone),
		T(endpoints_may_come_before_their_service),
		T(a_range_of_ours_is_a_destination_of_the_mesh),
		T(the_registry_is_told_while_it_is_wanted),
		T(an_address_of_the_host_is_known_at_its_ports),
		T(an_open_port_of_a_service_of_ours_is_known_and_not_captured),
		T(a_service_that_passes_through_is_only_known),
		T(a_range_that_two_have_is_the_meshs_while_one_is),
		T(a_node_may_have_the_address_of_a_pod_that_is_gone),
		T(node_ports_are_at_no_address_and_nodes_beside_workloads),
		T(a_host_port_is_there_while_its_pod_is_in_the_mesh),
		T(a_port_that_is_none_hides_nothing_else),
		T(what_is_wrong_leaves_the_old_one_in_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

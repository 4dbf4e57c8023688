/* SPDX-License-Identifier: Apache-2.0 */
/* resolve, mesh_nodes, host_ports - Services and pods at the addresses of nodes. */
#include <errno.h>

#include "tests/unit/ztunnel/resolve.h"
#include "ztunnel/mesh_nodes.h"

#define IPS(...)                                                                                   \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}
#define ANY 0x12345678

static void put_nodes(struct fixture *f)
{
	mesh_put_node(f->b, "n1", IPS("172.18.0.1", "fd18::1", "172.18.0.1"));
	mesh_put_node(f->b, "n2", IPS("172.18.0.2", "fd18::2"));
}

static void put_endpoint(struct fixture *f, const char *name, const char *node, const char *ip)
{
	mesh_put_workload(f->b, &(struct mesh_workload){.name = name,
							.node = node,
							.addrs = {ip, "fd00::7"},
							.services = {HTTPD}});
}

static void is_httpd(struct fixture *f, const char *at, const char *target)
{
	struct upstream up = go(f, at, ANY);

	assert_int_equal(up.kind, UPSTREAM_HBONE);
	assert_at(&up.target, target);
	assert_non_null(up.service);
	assert_string_equal(up.service->def->key, HTTPD);
}

static void a_node_port_of_any_node_is_the_service(void **state)
{
	struct fixture *f = *state;

	put_nodes(f);
	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}, .node_port = 30080});
	put_endpoint(f, "s", "n2", "10.0.0.2");
	is_httpd(f, "172.18.0.1:30080", "10.0.0.2:8080");
	is_httpd(f, "172.18.0.2:30080", "10.0.0.2:8080");
	is_httpd(f, "[fd18::2]:30080", "[fd00::7]:8080");
	is_httpd(f, "10.96.0.1:80", "10.0.0.2:8080");
	/* another port of a node, a node port of no node, the service's port at a node */
	assert_int_equal(go(f, "172.18.0.1:30081", ANY).kind, UPSTREAM_PASSTHROUGH);
	assert_int_equal(go(f, "172.18.0.3:30080", ANY).kind, UPSTREAM_PASSTHROUGH);
	assert_int_equal(go(f, "172.18.0.1:80", ANY).kind, UPSTREAM_PASSTHROUGH);
}

static void what_goes_is_a_node_port_no_more(void **state)
{
	struct fixture *f = *state;

	put_nodes(f);
	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}, .node_port = 30080});
	put_endpoint(f, "s", "n2", "10.0.0.2");
	mesh_put_node(f->b, "n2", IPS("172.18.0.9"));
	is_httpd(f, "172.18.0.9:30080", "10.0.0.2:8080");
	assert_int_equal(go(f, "172.18.0.2:30080", ANY).kind, UPSTREAM_PASSTHROUGH);
	/* a node that came back under another name, before the old one was told to be gone */
	mesh_put_node(f->b, "n3", IPS("172.18.0.9"));
	assert_int_equal(mesh_nodes_del(state_builder_nodes(f->b), "n2"), 0);
	assert_int_equal(mesh_nodes_del(state_builder_nodes(f->b), "n2"), 0);
	is_httpd(f, "172.18.0.9:30080", "10.0.0.2:8080");
	assert_int_equal(mesh_nodes_del(state_builder_nodes(f->b), "n3"), 0);
	assert_int_equal(go(f, "172.18.0.9:30080", ANY).kind, UPSTREAM_PASSTHROUGH);
	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}, .node_port = 30090});
	is_httpd(f, "172.18.0.1:30090", "10.0.0.2:8080");
	assert_int_equal(go(f, "172.18.0.1:30080", ANY).kind, UPSTREAM_PASSTHROUGH);
	assert_int_equal(state_builder_del_address(f->b, HTTPD), 0);
	assert_int_equal(go(f, "172.18.0.1:30090", ANY).kind, UPSTREAM_PASSTHROUGH);
}

static void external_local_takes_that_node_while_it_has_one(void **state)
{
	struct fixture *f = *state;

	put_nodes(f);
	put_httpd(f, &(struct mesh_service){
			     .ports = {80, 8080}, .node_port = 30080, .is_external_local = true});
	put_endpoint(f, "s1", "n1", "10.0.0.2");
	put_endpoint(f, "s2", "n2", "10.0.0.3");
	for (uint32_t random = 0; random < 0xf0000000; random += 0x10000000) {
		struct upstream up = go(f, "172.18.0.1:30080", random);

		assert_at(&up.target, "10.0.0.2:8080");
		up = go(f, "172.18.0.2:30080", random);
		assert_at(&up.target, "10.0.0.3:8080");
	}
	assert_int_equal(state_builder_del_address(f->b, "Kubernetes//Pod/demo/s2"), 0);
	is_httpd(f, "172.18.0.2:30080", "10.0.0.2:8080");
}

/* It is about the service's own addresses. */
static void internal_local_does_not_hold_at_a_node_port(void **state)
{
	struct fixture *f = *state;

	put_nodes(f);
	put_httpd(f,
		  &(struct mesh_service){.ports = {80, 8080},
					 .node_port = 30080,
					 .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__STRICT,
					 .scopes = {ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__NODE}});
	put_endpoint(f, "s", "n2", "10.0.0.2");
	assert_int_equal(go(f, "10.96.0.1:80", ANY).kind, UPSTREAM_REFUSE);
	is_httpd(f, "172.18.0.1:30080", "10.0.0.2:8080");
}

/* An entry with a node's address among its own has the ports that it says; the rest are the nodes'.
 */
static void a_service_at_a_nodes_address_keeps_its_ports(void **state)
{
	struct fixture *f = *state;

	put_nodes(f);
	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}, .node_port = 30080});
	put_endpoint(f, "s", "n2", "10.0.0.2");
	mesh_put_service(f->b, &(struct mesh_service){.name = "entry",
						      .vips = {"172.18.0.1"},
						      .ports = {443, 443}});
	assert_string_equal(go(f, "172.18.0.1:443", ANY).service->def->name, "entry");
	is_httpd(f, "172.18.0.1:30080", "10.0.0.2:8080");
}

static void a_hidden_service_is_no_node_port(void **state)
{
	struct fixture *f = *state;

	put_nodes(f);
	mesh_put_service(f->b, &(struct mesh_service){.name = "httpd",
						      .namespace_ = "other",
						      .ports = {80, 8080},
						      .node_port = 30080,
						      .is_namespace_only = true});
	assert_int_equal(go(f, "172.18.0.1:30080", ANY).kind, UPSTREAM_PASSTHROUGH);
}

static void a_waypoint_is_told_the_services_own_address(void **state)
{
	struct fixture *f = *state;
	struct upstream up;

	put_nodes(f);
	put_httpd(f, &(struct mesh_service){.ports = {80, 8080},
					    .node_port = 30080,
					    .waypoint = "demo/wp.demo.svc.cluster.local"});
	mesh_put_service(f->b, &(struct mesh_service){.name = "wp", .ports = {15008, 15008}});
	mesh_put_workload(f->b,
			  &(struct mesh_workload){.name = "w",
						  .addrs = {"10.0.0.8"},
						  .services = {"demo/wp.demo.svc.cluster.local"}});
	up = go(f, "172.18.0.1:30080", ANY);
	assert_true(up.is_waypoint);
	assert_at(&up.target, "10.96.0.1:80");
}

static void a_broken_node_leaves_the_old_one(void **state)
{
	static const uint8_t junk[] = {0x0a, 0xff, 0xff, 0xff, 0x7f}, five[] = {0x12, 1, 9};
	struct fixture *f = *state;
	struct mesh_nodes *n = state_builder_nodes(f->b);

	put_nodes(f);
	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}, .node_port = 30080});
	put_endpoint(f, "s", "n2", "10.0.0.2");
	assert_int_equal(mesh_nodes_put(n, "n1", junk, sizeof(junk)), -EBADMSG);
	assert_int_equal(mesh_nodes_put(n, "n1", five, sizeof(five)), -EBADMSG);
	is_httpd(f, "172.18.0.1:30080", "10.0.0.2:8080");
}

#define HOST_PORTS "172.18.0.2:30080", "[fd18::2]:30080"

static struct mesh_workload holder(const char *name, const char *ip)
{
	return (struct mesh_workload){.name = name,
				      .node = "n2",
				      .addrs = {ip, "fd00::7"},
				      .host_ports = {HOST_PORTS},
				      .host_target = 80};
}

static void leads_to(struct fixture *f, const char *at, const char *name, const char *target)
{
	struct upstream up = go(f, at, ANY);

	assert_int_equal(up.kind, UPSTREAM_HBONE);
	assert_string_equal(up.workload->name, name);
	assert_at(&up.target, target);
	assert_int_equal(up.identities_count, 1);
	assert_null(up.service);
}

static void passes(struct fixture *f, const char *at)
{
	assert_int_equal(go(f, at, ANY).kind, UPSTREAM_PASSTHROUGH);
}

static void a_host_port_is_its_pod(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload w = holder("s", "10.0.0.2");
	struct upstream up;

	mesh_put_workload(f->b, &w);
	leads_to(f, "172.18.0.2:30080", "s", "10.0.0.2:80");
	leads_to(f, "[fd18::2]:30080", "s", "[fd00::7]:80");
	up = go(f, "172.18.0.2:30080", ANY);
	assert_at(&up.dial, "10.0.0.2:15008");
	passes(f, "172.18.0.2:30081");
	passes(f, "172.18.0.1:30080");
	/* whether it is ready or not: no Service is asked */
	w.is_unhealthy = true;
	mesh_put_workload(f->b, &w);
	leads_to(f, "172.18.0.2:30080", "s", "10.0.0.2:80");
	/* another node has the same port for another pod */
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "t",
							.addrs = {"10.0.0.3"},
							.host_ports = {"172.18.0.1:30080"},
							.host_target = 81});
	leads_to(f, "172.18.0.1:30080", "t", "10.0.0.3:81");
	leads_to(f, "172.18.0.2:30080", "s", "10.0.0.2:80");
	w.is_tcp = true;
	mesh_put_workload(f->b, &w);
	passes(f, "172.18.0.2:30080"); /* as without a mesh */
	w.is_tcp = false;
	mesh_put_workload(f->b, &w);
	leads_to(f, "172.18.0.2:30080", "s", "10.0.0.2:80");
	assert_int_equal(state_builder_del_address(f->b, "Kubernetes//Pod/demo/s"), 0);
	passes(f, "172.18.0.2:30080");
	leads_to(f, "172.18.0.1:30080", "t", "10.0.0.3:81");
}

static void a_changed_pod_has_its_host_ports_of_now(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload w = holder("s", "10.0.0.2");

	mesh_put_workload(f->b, &w);
	w.host_ports[1] = NULL;
	w.host_target = 90;
	mesh_put_workload(f->b, &w);
	leads_to(f, "172.18.0.2:30080", "s", "10.0.0.2:90");
	passes(f, "[fd18::2]:30080");
	/* one listed twice goes whole */
	w.host_ports[1] = w.host_ports[0];
	mesh_put_workload(f->b, &w);
	leads_to(f, "172.18.0.2:30080", "s", "10.0.0.2:90");
	w.host_ports[0] = NULL;
	mesh_put_workload(f->b, &w);
	passes(f, "172.18.0.2:30080");
	/* no address of that family, no way */
	w = holder("s", "10.0.0.2");
	w.addrs[1] = NULL;
	mesh_put_workload(f->b, &w);
	passes(f, "[fd18::2]:30080");
}

static void of_two_pods_the_healthy_one_has_the_host_port(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload old = holder("a", "10.0.0.2"), new = holder("b", "10.0.0.3");

	mesh_put_workload(f->b, &old);
	mesh_put_workload(f->b, &new);
	leads_to(f, "172.18.0.2:30080", "a", "10.0.0.2:80");
	old.is_unhealthy = true;
	mesh_put_workload(f->b, &old);
	leads_to(f, "172.18.0.2:30080", "b", "10.0.0.3:80");
	assert_int_equal(state_builder_del_address(f->b, "Kubernetes//Pod/demo/a"), 0);
	leads_to(f, "172.18.0.2:30080", "b", "10.0.0.3:80");
}

/* kube-proxy's rules stand before a CNI's. */
static void a_service_there_comes_before_a_host_port(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload w = holder("s", "10.0.0.2");

	put_nodes(f);
	mesh_put_workload(f->b, &w);
	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}, .node_port = 30080});
	put_endpoint(f, "e", "n1", "10.0.0.4");
	is_httpd(f, "172.18.0.2:30080", "10.0.0.4:8080");
	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}});
	leads_to(f, "172.18.0.2:30080", "s", "10.0.0.2:80");
	mesh_put_service(f->b, &(struct mesh_service){.name = "entry",
						      .vips = {"172.18.0.2"},
						      .ports = {443, 443}});
	assert_string_equal(go(f, "172.18.0.2:443", ANY).service->def->name, "entry");
	leads_to(f, "172.18.0.2:30080", "s", "10.0.0.2:80");
}

static void a_waypoint_is_told_the_pods_own_address(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload w = holder("s", "10.0.0.2");
	struct upstream up;

	w.waypoint = "demo/wp.demo.svc.cluster.local";
	mesh_put_workload(f->b, &w);
	mesh_put_service(f->b, &(struct mesh_service){.name = "wp", .ports = {15008, 15008}});
	mesh_put_workload(f->b,
			  &(struct mesh_workload){.name = "w",
						  .addrs = {"10.0.0.8"},
						  .services = {"demo/wp.demo.svc.cluster.local"}});
	up = go(f, "172.18.0.2:30080", ANY);
	assert_true(up.is_waypoint);
	assert_at(&up.target, "10.0.0.2:80");
}

static void a_host_port_is_registered(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload w = holder("s", "10.0.0.2");

	state_builder_flags(f->b)->is_registry_only = true;
	mesh_put_workload(f->b, &w);
	leads_to(f, "172.18.0.2:30080", "s", "10.0.0.2:80");
	assert_int_equal(go(f, "172.18.0.2:30081", ANY).kind, UPSTREAM_REFUSE);
}

/* What may be there that nobody has told of? */
static bool is_in_doubt(struct fixture *f, const char *to)
{
	struct upstream up = go(f, to, ANY);

	assert_int_equal(up.kind, up.is_in_doubt ? UPSTREAM_REFUSE : UPSTREAM_PASSTHROUGH);
	return up.is_in_doubt;
}

static void without_a_control_plane_an_unknown_address_of_pods_is_in_doubt(void **state)
{
	struct fixture *f = *state;

	mesh_put_node(f->b, "n1", IPS("172.18.0.1", "10.1.0.0/16", "fd10:1::/64"));
	mesh_put_node(f->b, "n2", IPS("10.2.0.77/24", "10.1.0.0/16", "10.3.0.9/32"));
	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "plain", .is_tcp = true, .addrs = {"10.2.0.5"}});
	assert_false(is_in_doubt(f, "10.1.2.3:80"));
	state_builder_flags(f->b)->is_alone = true;
	assert_true(is_in_doubt(f, "10.1.2.3:80"));
	assert_true(is_in_doubt(f, "[::ffff:10.1.2.3]:80"));
	assert_true(is_in_doubt(f, "10.2.0.1:443"));
	assert_true(is_in_doubt(f, "10.3.0.9:443"));
	assert_true(is_in_doubt(f, "[fd10:1::9]:80"));
	assert_false(is_in_doubt(f, "10.3.0.8:443"));
	assert_false(is_in_doubt(f, "10.2.1.1:443"));
	assert_false(is_in_doubt(f, "[fd10:2::9]:80"));
	assert_false(is_in_doubt(f, "172.18.0.1:80"));
	/* known, and not of the mesh */
	assert_int_equal(go(f, "10.2.0.5:80", ANY).kind, UPSTREAM_TCP);
	/* of two nodes that say so one goes */
	assert_int_equal(mesh_nodes_del(state_builder_nodes(f->b), "n1"), 0);
	assert_true(is_in_doubt(f, "10.1.2.3:80"));
	assert_false(is_in_doubt(f, "[fd10:1::9]:80"));
	mesh_put_node(f->b, "n2", IPS("172.18.0.2"));
	assert_false(is_in_doubt(f, "10.1.2.3:80"));
	assert_false(is_in_doubt(f, "10.2.0.1:80"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_node_port_of_any_node_is_the_service),
		T(what_goes_is_a_node_port_no_more),
		T(external_local_takes_that_node_while_it_has_one),
		T(internal_local_does_not_hold_at_a_node_port),
		T(a_service_at_a_nodes_address_keeps_its_ports),
		T(a_hidden_service_is_no_node_port),
		T(a_waypoint_is_told_the_services_own_address),
		T(a_broken_node_leaves_the_old_one),
		T(a_host_port_is_its_pod),
		T(a_changed_pod_has_its_host_ports_of_now),
		T(of_two_pods_the_healthy_one_has_the_host_port),
		T(a_service_there_comes_before_a_host_port),
		T(a_waypoint_is_told_the_pods_own_address),
		T(a_host_port_is_registered),
		T(without_a_control_plane_an_unknown_address_of_pods_is_in_doubt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* resolve - every way a connection can go, and every way it is refused. */
#include "ztunnel/resolve.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "net/addr.h"
#include "tests/unit/ztunnel/resolve.h"

#define WP "demo/wp.demo.svc.cluster.local"

static void unknown_destinations_pass_through(void **state)
{
	struct upstream up = go(*state, "93.184.216.34:443", 0);

	assert_int_equal(up.kind, UPSTREAM_PASSTHROUGH);
	assert_at(&up.dial, "93.184.216.34:443");
	assert_null(up.workload);
}

static void under_registry_only_unknown_destinations_are_refused(void **state)
{
	struct fixture *f = *state;
	struct upstream up;

	state_builder_flags(f->b)->is_registry_only = true;
	up = go(f, "93.184.216.34:443", 0);
	assert_int_equal(up.kind, UPSTREAM_REFUSE);
	assert_non_null(strstr(up.error, "REGISTRY_ONLY"));
	put_httpd(f, &(struct mesh_service){
			     .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH});
	assert_int_equal(go(f, "10.96.0.1:80", 0).kind, UPSTREAM_PASSTHROUGH);
	assert_int_equal(go(f, "10.96.0.1:81", 0).kind, UPSTREAM_REFUSE); /* no port of its */
	/* without addresses: the TCP port of any host, where the service is seen */
	mesh_put_service(f->b, &(struct mesh_service){
				       .name = "open",
				       .ports = {9000, 9000},
				       .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH,
				       .is_tcp = true,
			       });
	mesh_put_service(f->b, &(struct mesh_service){
				       .name = "hidden",
				       .namespace_ = "other",
				       .ports = {9001, 9001},
				       .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH,
				       .is_tcp = true,
				       .is_namespace_only = true,
			       });
	mesh_put_service(f->b, &(struct mesh_service){
				       .name = "named",
				       .ports = {9002, 9002},
				       .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH,
			       });
	assert_int_equal(go(f, "93.184.216.34:9000", 0).kind, UPSTREAM_PASSTHROUGH);
	assert_int_equal(go(f, "93.184.216.34:9001", 0).kind, UPSTREAM_REFUSE);
	assert_int_equal(go(f, "93.184.216.34:9002", 0).kind, UPSTREAM_REFUSE);
	/* with addresses that its names were given: of any other host all the same */
	mesh_put_service(f->b, &(struct mesh_service){.name = "both",
						      .vips = {"240.240.0.9"},
						      .ports = {9003, 9003},
						      .is_tcp = true,
						      .is_open = true});
	assert_int_equal(go(f, "93.184.216.34:9003", 0).kind, UPSTREAM_PASSTHROUGH);
	assert_int_equal(go(f, "240.240.0.9:9003", 0).kind, UPSTREAM_REFUSE); /* no endpoint */
	state_builder_flags(f->b)->is_registry_only = false;
	assert_int_equal(go(f, "93.184.216.34:443", 0).kind, UPSTREAM_PASSTHROUGH);
}

static void no_origin_is_refused(void **state)
{
	static const char *const odd[] = {"127.64.0.1:15001", "[::1]:1", "0.0.0.0:80", "[::]:0",
					  "10.0.0.9:0"};

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
		assert_int_equal(go(*state, odd[i], 0).kind, UPSTREAM_REFUSE);
}

static void an_unknown_source_is_refused(void **state)
{
	struct fixture *f = *state;
	struct cv_sockaddr orig = mesh_sockaddr("10.0.0.9:80");
	struct upstream up;

	f->s = mesh_build(f->b);
	resolve_outbound(f->s, NULL, &orig, 0, &up);
	assert_int_equal(up.kind, UPSTREAM_REFUSE);
	assert_non_null(up.error);
}

static void a_workload_is_reached_through_its_tunnel(void **state)
{
	struct fixture *f = *state;
	struct upstream up;

	mesh_put_workload(f->b, &(struct mesh_workload){.name = "s",
							.account = "httpd",
							.addrs = {"10.0.0.2", "fd00::2"}});
	up = go(f, "[fd00::2]:8080", 0);
	assert_int_equal(up.kind, UPSTREAM_HBONE);
	assert_at(&up.dial, "[fd00::2]:15008");
	assert_at(&up.target, "[fd00::2]:8080");
	assert_int_equal(up.identities_count, 1);
	assert_string_equal(up.identities[0], "spiffe://cluster.local/ns/demo/sa/httpd");
	assert_null(up.service);
}

static void a_workload_outside_the_mesh_gets_plain_tcp(void **state)
{
	struct fixture *f = *state;
	struct upstream up;

	mesh_put_workload(
		f->b, &(struct mesh_workload){.name = "s", .addrs = {"10.0.0.2"}, .is_tcp = true});
	up = go(f, "10.0.0.2:8080", 0);
	assert_int_equal(up.kind, UPSTREAM_TCP);
	assert_at(&up.dial, "10.0.0.2:8080");
	assert_int_equal(up.identities_count, 0);
}

static void a_service_leads_to_an_endpoint_and_its_target_port(void **state)
{
	struct fixture *f = *state;
	struct upstream up;

	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}});
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "s",
							.addrs = {"10.0.0.2", "fd00::2"},
							.services = {HTTPD}});
	up = go(f, "10.96.0.1:80", 12345);
	assert_int_equal(up.kind, UPSTREAM_HBONE);
	assert_at(&up.dial, "10.0.0.2:15008");
	assert_at(&up.target, "10.0.0.2:8080");
	assert_string_equal(up.service->def->name, "httpd");
	up = go(f, "[fd96::1]:80", 12345);
	assert_at(&up.target, "[fd00::2]:8080");
}

static void named_ports_come_from_the_endpoint(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload w = {.name = "s", .addrs = {"10.0.0.2"}, .services = {HTTPD}};

	put_httpd(f, &(struct mesh_service){.ports = {80, 0}});
	mesh_put_workload(f->b, &w);
	assert_int_equal(go(f, "10.96.0.1:80", 0).kind, UPSTREAM_REFUSE);
	w.ports[0] = 80;
	w.ports[1] = 9090;
	mesh_put_workload(f->b, &w);
	assert_int_equal(ntohs(go(f, "10.96.0.1:80", 0).target.port), 9090);
}

static void a_service_that_cannot_serve_is_refused_and_never_passed_through(void **state)
{
	struct fixture *f = *state;

	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}});
	assert_int_equal(go(f, "10.96.0.1:80", 0).kind, UPSTREAM_REFUSE);
	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "s", .addrs = {"10.0.0.2"}, .services = {HTTPD}});
	assert_int_equal(go(f, "10.96.0.1:80", 0).kind, UPSTREAM_HBONE);
	assert_int_equal(go(f, "10.96.0.1:81", 0).kind, UPSTREAM_REFUSE);
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "s",
							.addrs = {"10.0.0.2"},
							.services = {HTTPD},
							.is_unhealthy = true});
	assert_int_equal(go(f, "10.96.0.1:80", 0).kind, UPSTREAM_REFUSE);
	assert_string_equal(go(f, "10.96.0.1:80", 0).error, "no healthy upstream");
}

static void passthrough_services_keep_the_address(void **state)
{
	struct fixture *f = *state;
	struct upstream up;

	put_httpd(f, &(struct mesh_service){
			     .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH});
	up = go(f, "10.96.0.1:80", 0);
	assert_int_equal(up.kind, UPSTREAM_PASSTHROUGH);
	assert_at(&up.dial, "10.96.0.1:80");
}

static void weights_are_kept(void **state)
{
	struct fixture *f = *state;
	unsigned int heavy = 0;

	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}});
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "a",
							.addrs = {"10.0.0.2"},
							.services = {HTTPD},
							.capacity = 3});
	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "b", .addrs = {"10.0.0.3"}, .services = {HTTPD}});
	for (uint32_t i = 0; i < 400; i++)
		heavy += streq(go(f, "10.96.0.1:80", i * (UINT32_MAX / 400)).workload->name, "a");
	assert_in_range(heavy, 295, 305);
}

static void each_random_number_finds_a_usable_endpoint(void **state)
{
	struct fixture *f = *state;
	unsigned int seen = 0;

	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}});
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "no-addr", .services = {HTTPD}});
	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "b", .addrs = {"10.0.0.3"}, .services = {HTTPD}});
	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "c", .addrs = {"10.0.0.4"}, .services = {HTTPD}});
	for (uint32_t i = 0; i < 64; i++) {
		struct upstream up = go(f, "10.96.0.1:80", i * (UINT32_MAX / 64));

		assert_int_equal(up.kind, UPSTREAM_HBONE);
		seen |= streq(up.workload->name, "b") ? 1 : 2;
	}
	assert_int_equal(go(f, "10.96.0.1:80", UINT32_MAX).kind, UPSTREAM_HBONE);
	assert_int_equal(seen, 3);
}

static void strict_locality_takes_own_node_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload far = {
		.name = "far", .addrs = {"10.0.0.2"}, .services = {HTTPD}, .node = "n2"};
	struct mesh_workload near = {.name = "near", .addrs = {"10.0.0.3"}, .services = {HTTPD}};

	put_httpd(f,
		  &(struct mesh_service){.ports = {80, 80},
					 .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__STRICT,
					 .scopes = {ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__NODE}});
	mesh_put_workload(f->b, &far);
	assert_int_equal(go(f, "10.96.0.1:80", 0).kind, UPSTREAM_REFUSE);
	mesh_put_workload(f->b, &near);
	for (uint32_t i = 0; i < 10; i++)
		assert_string_equal(go(f, "10.96.0.1:80", i << 28).workload->name, "near");
}

static void failover_prefers_near_ones_while_there_are_any(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload far = {
		.name = "far", .addrs = {"10.0.0.2"}, .services = {HTTPD}, .zone = "z2"};
	struct mesh_workload near = {
		.name = "near", .addrs = {"10.0.0.3"}, .services = {HTTPD}, .zone = "z1"};

	put_httpd(f,
		  &(struct mesh_service){.ports = {80, 80},
					 .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__FAILOVER,
					 .scopes = {ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__ZONE}});
	mesh_put_workload(f->b, &far);
	assert_string_equal(go(f, "10.96.0.1:80", 0).workload->name, "far");
	mesh_put_workload(f->b, &near);
	for (uint32_t i = 0; i < 10; i++)
		assert_string_equal(go(f, "10.96.0.1:80", i << 28).workload->name, "near");
}

/* Weight 0: no connection, and no reason to leave those out that have some. */
static void a_near_one_without_weight_leaves_it_to_the_far_ones(void **state)
{
	struct fixture *f = *state;

	put_httpd(f,
		  &(struct mesh_service){.ports = {80, 80},
					 .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__FAILOVER,
					 .scopes = {ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__ZONE}});
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "near",
							.addrs = {"10.0.0.3"},
							.services = {HTTPD},
							.zone = "z1",
							.is_weightless = true});
	assert_int_equal(go(f, "10.96.0.1:80", 0).kind, UPSTREAM_REFUSE);
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "far",
							.addrs = {"10.0.0.2"},
							.services = {HTTPD},
							.zone = "z2"});
	assert_string_equal(go(f, "10.96.0.1:80", 0).workload->name, "far");
}

static void put_three(struct fixture *f, struct mesh_service *s)
{
	static const char *const names[] = {"a", "b", "c"}, *const addrs[] = {"10.0.0.2",
									      "10.0.0.3",
									      "10.0.0.4"};

	s->ports[1] = 8080;
	put_httpd(f, s);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		mesh_put_workload(f->b, &(struct mesh_workload){.name = names[i],
								.addrs = {addrs[i]},
								.services = {HTTPD},
								.zone = i ? "z1" : "z2"});
}

static struct upstream go_avoiding(struct fixture *f, const struct resolve_choice *choice)
{
	struct cv_sockaddr orig = mesh_sockaddr("10.96.0.1:80");
	struct upstream up;

	state_unref(f->s);
	f->s = mesh_build(f->b);
	resolve_outbound_again(f->s, state_workload_by_uid(f->s, "Kubernetes//Pod/demo/client"),
			       &orig, choice, &up);
	return up;
}

static void endpoints_that_refused_are_avoided(void **state)
{
	struct fixture *f = *state;
	struct cv_sockaddr avoid[3];
	struct resolve_choice choice = {.avoid = avoid};
	struct upstream up;

	put_three(f, &(struct mesh_service){.ports = {80}});
	for (choice.avoid_count = 0; choice.avoid_count < 3; choice.avoid_count++) {
		for (uint32_t i = 0; i < 16; i++) {
			choice.random = i << 28;
			up = go_avoiding(f, &choice);
			assert_true(up.is_chosen && up.has_others);
			assert_int_equal(ntohs(up.endpoint.port), 8080);
			for (size_t k = 0; k < choice.avoid_count; k++)
				assert_false(cv_addr_equal(&avoid[k].addr, &up.endpoint.addr));
		}
		avoid[choice.avoid_count] = up.endpoint;
	}
	up = go_avoiding(f, &choice);
	assert_int_equal(up.kind, UPSTREAM_REFUSE);
	assert_false(up.is_chosen);
}

static void what_is_on_a_silent_node_comes_last(void **state)
{
	static const char *const names[] = {"a", "b", "c"}, *const addrs[] = {"10.0.0.2",
									      "10.0.0.3",
									      "10.0.0.4"};
	struct fixture *f = *state;
	struct cv_sockaddr avoid[2] = {mesh_sockaddr("10.0.0.2:8080"),
				       mesh_sockaddr("10.0.0.4:8080")};
	struct workload *silent;
	struct resolve_choice choice = {.avoid = avoid, .avoid_count = 1, .silent = &silent};

	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}});
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		mesh_put_workload(f->b, &(struct mesh_workload){.name = names[i],
								.node = i < 2 ? "gone" : "n2",
								.addrs = {addrs[i]},
								.services = {HTTPD}});
	(void)go(f, "10.96.0.1:80", 0);
	silent = (struct workload *)(uintptr_t)state_workload_by_addr(f->s, &avoid[0].addr);
	choice.silent_count = 1;
	for (uint32_t i = 0; i < 16; i++) {
		choice.random = i << 28;
		assert_string_equal(go_avoiding(f, &choice).workload->name, "c");
	}
	choice.avoid_count = 2;
	assert_string_equal(go_avoiding(f, &choice).workload->name, "b");
}

static void failover_leaves_a_zone_whose_endpoints_refused(void **state)
{
	struct fixture *f = *state;
	struct cv_sockaddr avoid[2] = {mesh_sockaddr("10.0.0.3:8080"),
				       mesh_sockaddr("10.0.0.4:8080")};
	struct resolve_choice choice = {.avoid = avoid, .avoid_count = 1};

	put_three(f,
		  &(struct mesh_service){.ports = {80},
					 .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__FAILOVER,
					 .scopes = {ISTIO__WORKLOAD__LOAD_BALANCING__SCOPE__ZONE}});
	assert_string_equal(go_avoiding(f, &choice).workload->name, "c");
	choice.avoid_count = 2;
	assert_string_equal(go_avoiding(f, &choice).workload->name, "a");
}

static void affinity_keeps_a_client_at_one_endpoint(void **state)
{
	struct fixture *f = *state;
	char first[2] = "";
	unsigned int seen = 0;

	put_three(f, &(struct mesh_service){.ports = {80}, .is_sticky = true});
	for (uint32_t i = 0; i < 16; i++) {
		const char *name = go(f, "10.96.0.1:80", i << 28).workload->name;

		if (i == 0)
			first[0] = name[0];
		assert_string_equal(name, first);
	}
	/* other clients are spread */
	for (uint32_t i = 0; i < 64; i++) {
		char addr[32];

		(void)snprintf(addr, sizeof(addr), "10.0.1.%u", i);
		mesh_put_workload(f->b, &(struct mesh_workload){.name = "client", .addrs = {addr}});
		seen |= 1U << (go(f, "10.96.0.1:80", 0).workload->name[0] - 'a');
	}
	assert_int_equal(seen, 7);
}

static void affinity_moves_only_the_clients_of_what_is_gone(void **state)
{
	struct fixture *f = *state;
	struct resolve_choice choice = {0};
	struct cv_sockaddr gone = mesh_sockaddr("10.0.0.2:8080");
	unsigned int moved = 0;

	put_three(f, &(struct mesh_service){.ports = {80}, .is_sticky = true});
	choice.avoid = &gone;
	for (uint32_t i = 0; i < 64; i++) {
		char addr[32];
		const char *before, *after;

		(void)snprintf(addr, sizeof(addr), "10.0.1.%u", i);
		mesh_put_workload(f->b, &(struct mesh_workload){.name = "client", .addrs = {addr}});
		choice.avoid_count = 0;
		before = go_avoiding(f, &choice).workload->name;
		moved += streq(before, "a");
		choice.avoid_count = 1;
		after = go_avoiding(f, &choice).workload->name;
		assert_true(!streq(after, "a") && (streq(before, "a") || streq(before, after)));
	}
	assert_in_range(moved, 8, 40);
}

static void a_service_with_a_waypoint_goes_there_with_its_own_authority(void **state)
{
	struct fixture *f = *state;
	struct upstream up;

	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}, .waypoint = WP});
	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "s", .addrs = {"10.0.0.2"}, .services = {HTTPD}});
	assert_int_equal(go(f, "10.96.0.1:80", 0).kind, UPSTREAM_REFUSE);
	mesh_put_service(f->b, &(struct mesh_service){.name = "wp",
						      .vips = {"10.96.0.9"},
						      .ports = {15008, 15008}});
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "wp",
							.account = "wp",
							.addrs = {"10.0.0.7"},
							.services = {WP},
							.is_tcp = true});
	up = go(f, "10.96.0.1:80", 0);
	assert_int_equal(up.kind, UPSTREAM_HBONE);
	assert_true(up.is_waypoint);
	assert_at(&up.dial, "10.0.0.7:15008");
	assert_at(&up.target, "10.96.0.1:80");
	assert_string_equal(up.identities[0], "spiffe://cluster.local/ns/demo/sa/wp");
}

static void the_waypoint_itself_goes_straight(void **state)
{
	struct fixture *f = *state;
	struct upstream up;

	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "client", .addrs = {"10.0.0.1"}, .services = {WP}});
	mesh_put_workload(
		f->b, &(struct mesh_workload){.name = "s", .addrs = {"10.0.0.2"}, .waypoint = WP});
	up = go(f, "10.0.0.2:80", 0);
	assert_int_equal(up.kind, UPSTREAM_HBONE);
	assert_at(&up.dial, "10.0.0.2:15008");
}

struct inbound_case {
	const char *authority;
	int status;
	uint16_t port;
};

static void inbound_authorities(void **state)
{
	static const struct inbound_case cases[] = {
		{"10.0.0.2:80", 0, 80},
		{"10.0.0.2:15001", 503, 0},
		{"10.0.0.2:15006", 503, 0},
		{"10.0.0.2:15008", 503, 0},
		{"10.0.0.3:80", 400, 0},
		{"10.0.0.2:0", 400, 0},
		{"10.0.0.2", 400, 0},
		{"10.0.0.2:", 400, 0},
		{"10.0.0.2:80:80", 400, 0},
		{"10.0.0.2:65536", 400, 0},
		{"10.0.0.2:-1", 400, 0},
		{"[10.0.0.2]:80", 400, 0},
		{"", 400, 0},
		{":80", 400, 0},
		{"[fd00::2]:80", 400, 0}, /* not where the tunnel arrived */
		{"httpd.demo.svc.cluster.local:80", 0, 8080},
		{"HTTPD.demo.svc.cluster.local.:80", 0, 8080},
		{"httpd.demo.svc.cluster.local:81", 503, 0},
		{"other.demo.svc.cluster.local:80", 503, 0},
		{"unknown.demo.svc.cluster.local:80", 503, 0},
		{"a b:80", 400, 0},
		{"a/b:80", 400, 0},
		{"\x80:80", 400, 0},
	};
	struct fixture *f = *state;
	const struct workload *dst;
	const struct service *v;
	struct cv_sockaddr at;
	struct cv_addr tunnel = mesh_addr("10.0.0.2");

	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}});
	mesh_put_service(f->b, &(struct mesh_service){.name = "other", .ports = {80, 80}});
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "s",
							.addrs = {"10.0.0.2", "fd00::2"},
							.services = {HTTPD}});
	f->s = mesh_build(f->b);
	dst = state_workload_by_addr(f->s, &tunnel);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status = resolve_inbound(f->s, dst, cases[i].authority, &tunnel, &at, &v);

		if (status != cases[i].status)
			fail_msg("%s: %d", cases[i].authority, status);
		if (status == 0) {
			assert_int_equal(ntohs(at.port), cases[i].port);
			assert_true(cv_addr_equal(&at.addr, &tunnel));
		}
	}
	assert_int_equal(resolve_inbound(f->s, NULL, "10.0.0.2:80", &tunnel, &at, &v), 503);
}

/* Istio's rule: what the client says, if the pod serves it; else the first that leads to the port.
 */
static void what_arrives_is_for_a_service_of_the_pods(void **state)
{
	struct fixture *f = *state;
	const struct workload *w;

	put_httpd(f, &(struct mesh_service){.ports = {80, 8080}});
	mesh_put_service(f->b, &(struct mesh_service){
				       .name = "admin", .vips = {"10.96.0.3"}, .ports = {80}});
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "web",
							.addrs = {"10.0.0.2"},
							.services = {HTTPD, "demo/admin.demo.svc."
									    "cluster.local"},
							.ports = {80, 8080}});
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "alone", .addrs = {"10.0.0.3"}});
	f->s = mesh_build(f->b);
	w = state_workload_by_uid(f->s, "Kubernetes//Pod/demo/web");
	assert_string_equal(resolve_served(f->s, w, 8080, NULL)->def->hostname,
			    "httpd.demo.svc.cluster.local");
	assert_string_equal(
		resolve_served(f->s, w, 8080, "admin.demo.svc.cluster.local")->def->hostname,
		"admin.demo.svc.cluster.local");
	assert_string_equal(resolve_served(f->s, w, 8080, "other.demo.svc")->def->hostname,
			    "httpd.demo.svc.cluster.local");
	assert_null(resolve_served(f->s, w, 9090, NULL));
	assert_null(resolve_served(f->s, state_workload_by_uid(f->s, "Kubernetes//Pod/demo/alone"),
				   8080, "httpd.demo.svc.cluster.local"));
	assert_null(resolve_served(f->s, NULL, 8080, NULL));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(unknown_destinations_pass_through),
		T(under_registry_only_unknown_destinations_are_refused),
		T(no_origin_is_refused),
		T(an_unknown_source_is_refused),
		T(a_workload_is_reached_through_its_tunnel),
		T(a_workload_outside_the_mesh_gets_plain_tcp),
		T(a_service_leads_to_an_endpoint_and_its_target_port),
		T(named_ports_come_from_the_endpoint),
		T(a_service_that_cannot_serve_is_refused_and_never_passed_through),
		T(passthrough_services_keep_the_address),
		T(weights_are_kept),
		T(each_random_number_finds_a_usable_endpoint),
		T(strict_locality_takes_own_node_or_nothing),
		T(failover_prefers_near_ones_while_there_are_any),
		T(a_near_one_without_weight_leaves_it_to_the_far_ones),
		T(endpoints_that_refused_are_avoided),
		T(what_is_on_a_silent_node_comes_last),
		T(failover_leaves_a_zone_whose_endpoints_refused),
		T(affinity_keeps_a_client_at_one_endpoint),
		T(affinity_moves_only_the_clients_of_what_is_gone),
		T(a_service_with_a_waypoint_goes_there_with_its_own_authority),
		T(the_waypoint_itself_goes_straight),
		T(inbound_authorities),
		T(what_arrives_is_for_a_service_of_the_pods),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

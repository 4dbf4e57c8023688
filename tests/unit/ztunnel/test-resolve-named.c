/* SPDX-License-Identifier: Apache-2.0 */
/* resolve - endpoints that DNS has to find. */
#include "tests/unit/ztunnel/resolve.h"

static void put_named(struct fixture *f, const char *name, const char *host, bool is_first)
{
	mesh_put_workload(f->b, &(struct mesh_workload){.name = name,
							.dns_host = host,
							.services = {HTTPD},
							.ports = {80, 9000},
							.is_tcp = true,
							.is_host_network = true,
							.is_first_address = is_first});
}

/* What DNS says of the endpoint's name. */
static void name(struct fixture *f, const struct cv_addr *addrs, size_t count,
		 const struct resolve_choice *choice, struct upstream *up)
{
	const struct resolve_addrs of_name = {addrs, count};

	resolve_named(f->s, state_workload_by_uid(f->s, "Kubernetes//Pod/demo/client"), &of_name,
		      choice, up);
}

static void named_endpoints_wait_for_dns(void **state)
{
	struct cv_addr addrs[3] = {mesh_addr("192.0.2.1"), mesh_addr("2001:db8::1"),
				   mesh_addr("192.0.2.2")};
	struct cv_sockaddr failed = mesh_sockaddr("192.0.2.1:9000");
	struct resolve_choice choice = {.random = 0};
	struct fixture *f = *state;
	struct upstream up, six;

	put_httpd(f, &(struct mesh_service){0});
	put_named(f, "db", "db.example.com", false);
	up = go(f, "10.96.0.1:80", 0);
	assert_int_equal(up.kind, UPSTREAM_NAMED);
	assert_string_equal(up.workload->rare->hostname, "db.example.com");
	name(f, addrs, 3, &choice, &up);
	assert_int_equal(up.kind, UPSTREAM_TCP);
	assert_at(&up.dial, "192.0.2.1:9000");
	assert_true(up.has_others);
	/* the family that was asked for, whichever comes first */
	choice.random = 1;
	up = go(f, "10.96.0.1:80", 0);
	name(f, addrs, 3, &choice, &up);
	assert_at(&up.dial, "192.0.2.2:9000");
	six = go(f, "[fd96::1]:80", 0);
	name(f, addrs, 3, &choice, &six);
	assert_at(&six.dial, "[2001:db8::1]:9000");
	/* not the one that failed; in the end the other family */
	choice = (struct resolve_choice){.avoid = &failed, .avoid_count = 1};
	up = go(f, "10.96.0.1:80", 0);
	name(f, addrs, 3, &choice, &up);
	assert_at(&up.dial, "192.0.2.2:9000");
	up = go(f, "10.96.0.1:80", 0);
	name(f, addrs, 2, &choice, &up);
	assert_at(&up.dial, "[2001:db8::1]:9000");
	assert_false(up.has_others);
	up = go(f, "10.96.0.1:80", 0);
	name(f, addrs, 1, &choice, &up);
	assert_int_equal(up.kind, UPSTREAM_REFUSE);
}

static void only_the_first_address_where_that_is_asked(void **state)
{
	struct cv_addr addrs[2] = {mesh_addr("192.0.2.1"), mesh_addr("192.0.2.2")};
	struct fixture *f = *state;

	put_httpd(f, &(struct mesh_service){0});
	put_named(f, "db", "db.example.com", true);
	for (uint32_t i = 0; i < 8; i++) {
		struct resolve_choice choice = {.random = i};
		struct upstream up = go(f, "10.96.0.1:80", i);

		name(f, addrs, 2, &choice, &up);
		assert_at(&up.dial, "192.0.2.1:9000");
	}
}

/* Return: the endpoint that the lowest random number leads to, of two with names. */
static const struct workload *put_two(struct fixture *f)
{
	put_httpd(f, &(struct mesh_service){0});
	put_named(f, "db", "db.example.com", false);
	put_named(f, "eu", "eu.example.com", false);
	return go(f, "10.96.0.1:80", 0).workload;
}

static void a_name_that_dns_did_not_know_is_avoided(void **state)
{
	struct cv_sockaddr orig = mesh_sockaddr("10.96.0.1:80");
	struct fixture *f = *state;
	struct resolve_choice choice = {0};
	const struct workload *first = put_two(f);
	struct upstream up;

	choice.avoid_named = &first;
	choice.avoid_named_count = 1;
	for (uint32_t i = 0; i < 8; i++) {
		choice.random = i << 29;
		resolve_outbound_again(f->s,
				       state_workload_by_uid(f->s, "Kubernetes//Pod/demo/client"),
				       &orig, &choice, &up);
		assert_int_equal(up.kind, UPSTREAM_NAMED);
		assert_ptr_not_equal(up.workload, first);
	}
}

/* Where it is the last one that is asked, it has more time. */
static void a_lone_address_of_the_last_name_has_no_others(void **state)
{
	struct cv_addr addr = mesh_addr("192.0.2.1");
	struct resolve_choice choice = {0};
	struct fixture *f = *state;
	const struct workload *first = put_two(f);
	struct upstream up = go(f, "10.96.0.1:80", 0);

	name(f, &addr, 1, &choice, &up);
	assert_true(up.has_others);
	choice.avoid_named = &first;
	choice.avoid_named_count = 1;
	up = go(f, "10.96.0.1:80", UINT32_MAX);
	assert_ptr_not_equal(up.workload, first);
	name(f, &addr, 1, &choice, &up);
	assert_false(up.has_others);
}

#define WEB "demo/web.demo.svc.cluster.local"

static void put_web_pod(struct fixture *f, const char *name, const char *addr)
{
	mesh_put_workload(f->b, &(struct mesh_workload){.name = name,
							.account = name,
							.addrs = {addr},
							.services = {WEB},
							.ports = {9000, 8080}});
}

static void put_web(struct fixture *f)
{
	mesh_put_service(f->b, &(struct mesh_service){
				       .name = "web", .vips = {"10.96.0.2"}, .ports = {9000}});
}

static void assert_tunnel(const struct upstream *up, const char *dial, const char *target,
			  const char *identity)
{
	assert_int_equal(up->kind, UPSTREAM_HBONE);
	assert_at(&up->dial, dial);
	assert_at(&up->target, target);
	assert_string_equal(up->identities[0], identity);
}

static void a_name_that_leads_to_a_pod_takes_its_tunnel(void **state)
{
	struct cv_addr addr = mesh_addr("10.0.0.7");
	struct resolve_choice choice = {0};
	struct fixture *f = *state;
	struct workload *meant;
	struct upstream up;

	put_httpd(f, &(struct mesh_service){0});
	put_named(f, "db", "db.example.com", false);
	put_web_pod(f, "web-1", "10.0.0.7");
	up = go(f, "10.96.0.1:80", 0);
	name(f, &addr, 1, &choice, &up);
	assert_tunnel(&up, "10.0.0.7:15008", "10.0.0.7:9000",
		      "spiffe://cluster.local/ns/demo/sa/web-1");
	assert_string_equal(up.workload->uid, "Kubernetes//Pod/demo/web-1");
	/* nor without one, once the pod has gone */
	choice.meant = meant = workload_ref((struct workload *)(uintptr_t)up.workload);
	assert_int_equal(state_builder_del_address(f->b, "Kubernetes//Pod/demo/web-1"), 0);
	up = go(f, "10.96.0.1:80", 0);
	name(f, &addr, 1, &choice, &up);
	assert_int_equal(up.kind, UPSTREAM_REFUSE);
	(void)workload_unref(meant);
}

static void a_name_that_leads_to_a_service_gets_one_of_its_endpoints(void **state)
{
	struct cv_addr addr = mesh_addr("10.96.0.2");
	struct cv_sockaddr failed = mesh_sockaddr("10.0.0.7:8080");
	struct resolve_choice choice = {.avoid = &failed};
	struct fixture *f = *state;
	struct upstream up;

	put_httpd(f, &(struct mesh_service){0});
	put_named(f, "db", "db.example.com", false);
	put_web(f);
	up = go(f, "10.96.0.1:80", 0);
	name(f, &addr, 1, &choice, &up);
	assert_int_equal(up.kind, UPSTREAM_REFUSE); /* it has none */
	put_web_pod(f, "web-1", "10.0.0.7");
	up = go(f, "10.96.0.1:80", 0);
	name(f, &addr, 1, &choice, &up);
	assert_tunnel(&up, "10.0.0.7:15008", "10.0.0.7:8080",
		      "spiffe://cluster.local/ns/demo/sa/web-1");
	assert_at(&up.endpoint, "10.0.0.7:8080");
	assert_string_equal(up.service->def->hostname, "web.demo.svc.cluster.local");
	/* and the next one where that refuses */
	put_web_pod(f, "web-2", "10.0.0.8");
	choice.avoid_count = 1;
	up = go(f, "10.96.0.1:80", 0);
	name(f, &addr, 1, &choice, &up);
	assert_at(&up.endpoint, "10.0.0.8:8080");
	assert_true(up.has_others);
}

/* Who is asked for by a range may lie in it, or in another one's, and has its own address. */
static void a_name_that_leads_into_a_range_is_dialled_there(void **state)
{
	struct cv_addr addr = mesh_addr("10.2.3.4");
	struct resolve_choice choice = {0};
	struct fixture *f = *state;
	struct upstream up;

	mesh_put_service(f->b, &(struct mesh_service){.name = "httpd",
						      .vips = {"10.2.0.0"},
						      .vip_bits = 16,
						      .ports = {80, 9000}});
	put_named(f, "db", "db.example.com", false);
	up = go(f, "10.2.0.9:80", 0);
	name(f, &addr, 1, &choice, &up);
	assert_int_equal(up.kind, UPSTREAM_TCP);
	assert_at(&up.dial, "10.2.3.4:9000");
}

static void a_name_that_leads_to_names_is_dialled_where_they_lead(void **state)
{
	struct cv_addr addr = mesh_addr("10.96.0.2");
	struct resolve_choice choice = {0};
	struct fixture *f = *state;
	struct upstream up;

	put_httpd(f, &(struct mesh_service){0});
	put_named(f, "db", "db.example.com", false);
	put_web(f);
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "eu",
							.dns_host = "eu.example.com",
							.services = {WEB},
							.ports = {9000, 8080},
							.is_tcp = true,
							.is_host_network = true});
	up = go(f, "10.96.0.1:80", 0);
	name(f, &addr, 1, &choice, &up);
	assert_int_equal(up.kind, UPSTREAM_TCP);
	assert_at(&up.dial, "10.96.0.2:9000");
}

/* The entry's own address may be its endpoint's. */
static void an_entry_comes_before_an_endpoint_at_its_address(void **state)
{
	struct fixture *f = *state;
	struct upstream up;

	put_httpd(f, &(struct mesh_service){.ports = {80, 9000}});
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "entry",
							.addrs = {"10.96.0.1"},
							.services = {HTTPD},
							.ports = {80, 9000},
							.is_tcp = true});
	up = go(f, "10.96.0.1:80", 0);
	assert_int_equal(up.kind, UPSTREAM_TCP);
	assert_at(&up.dial, "10.96.0.1:9000");
	assert_non_null(up.service);
	/* but for a port that it does not have */
	up = go(f, "10.96.0.1:81", 0);
	assert_int_equal(up.kind, UPSTREAM_TCP);
	assert_at(&up.dial, "10.96.0.1:81");
	assert_null(up.service);
}

/* As Istio's control plane has the endpoints of an entry. */
static void an_endpoint_with_a_pods_address_is_the_pod(void **state)
{
	struct fixture *f = *state;
	struct upstream up;

	put_httpd(f, &(struct mesh_service){0});
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "entry",
							.addrs = {"10.0.0.7"},
							.services = {HTTPD},
							.ports = {80, 9000},
							.is_tcp = true});
	up = go(f, "10.96.0.1:80", 0);
	assert_int_equal(up.kind, UPSTREAM_TCP);
	put_web_pod(f, "web-1", "10.0.0.7");
	up = go(f, "10.96.0.1:80", 0);
	assert_tunnel(&up, "10.0.0.7:15008", "10.0.0.7:9000",
		      "spiffe://cluster.local/ns/demo/sa/web-1");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(named_endpoints_wait_for_dns),
		T(only_the_first_address_where_that_is_asked),
		T(a_name_that_dns_did_not_know_is_avoided),
		T(a_lone_address_of_the_last_name_has_no_others),
		T(a_name_that_leads_to_a_pod_takes_its_tunnel),
		T(a_name_that_leads_to_a_service_gets_one_of_its_endpoints),
		T(a_name_that_leads_into_a_range_is_dialled_there),
		T(a_name_that_leads_to_names_is_dialled_where_they_lead),
		T(an_entry_comes_before_an_endpoint_at_its_address),
		T(an_endpoint_with_a_pods_address_is_the_pod),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

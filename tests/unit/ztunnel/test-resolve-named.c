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
	resolve_named(&up, addrs, 3, &choice);
	assert_int_equal(up.kind, UPSTREAM_TCP);
	assert_at(&up.dial, "192.0.2.1:9000");
	assert_true(up.has_others);
	/* the family that was asked for, whichever comes first */
	choice.random = 1;
	up = go(f, "10.96.0.1:80", 0);
	resolve_named(&up, addrs, 3, &choice);
	assert_at(&up.dial, "192.0.2.2:9000");
	six = go(f, "[fd96::1]:80", 0);
	resolve_named(&six, addrs, 3, &choice);
	assert_at(&six.dial, "[2001:db8::1]:9000");
	/* not the one that failed; in the end the other family */
	choice = (struct resolve_choice){.avoid = &failed, .avoid_count = 1};
	up = go(f, "10.96.0.1:80", 0);
	resolve_named(&up, addrs, 3, &choice);
	assert_at(&up.dial, "192.0.2.2:9000");
	up = go(f, "10.96.0.1:80", 0);
	resolve_named(&up, addrs, 2, &choice);
	assert_at(&up.dial, "[2001:db8::1]:9000");
	up = go(f, "10.96.0.1:80", 0);
	resolve_named(&up, addrs, 1, &choice);
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

		resolve_named(&up, addrs, 2, &choice);
		assert_at(&up.dial, "192.0.2.1:9000");
	}
}

static void a_name_that_dns_did_not_know_is_avoided(void **state)
{
	struct cv_sockaddr orig = mesh_sockaddr("10.96.0.1:80");
	struct fixture *f = *state;
	const struct workload *first;
	struct resolve_choice choice = {0};
	struct upstream up;

	put_httpd(f, &(struct mesh_service){0});
	put_named(f, "db", "db.example.com", false);
	put_named(f, "eu", "eu.example.com", false);
	up = go(f, "10.96.0.1:80", 0);
	first = up.workload;
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

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(named_endpoints_wait_for_dns),
		T(only_the_first_address_where_that_is_asked),
		T(a_name_that_dns_did_not_know_is_avoided),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

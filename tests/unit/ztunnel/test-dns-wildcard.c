/* SPDX-License-Identifier: Apache-2.0 */
/* dns_wildcard - each name below a wildcard has an address of its own, and no other's. */
#include "ztunnel/dns_wildcard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/addr.h"
#include "tests/unit/ztunnel/mesh.h"

#define HOST    "*.example.com"
#define HOUR_US (3600ULL * 1000 * 1000)
#define POD     1

struct fixture {
	struct state *state;
	struct dns_wildcards *w;
	const struct service *v;
};

/* As the control plane sends a wildcard that is resolved, and a plain host, under REGISTRY_ONLY. */
static int setup(void **state)
{
	static struct fixture f;
	struct state_builder *b = NULL;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_service(b, &(struct mesh_service){.name = "wild",
						   .hostname = HOST,
						   .vips = {"241.0.7.0"},
						   .vip_bits = 24,
						   .ports = {443, 443}});
	mesh_put_workload(b, &(struct mesh_workload){.name = "wild",
						     .services = {"demo/" HOST},
						     .ports = {443, 443},
						     .dns_host = HOST,
						     .is_tcp = true,
						     .is_host_network = true});
	mesh_put_service(b, &(struct mesh_service){.name = "plain",
						   .hostname = "*.plain.com",
						   .vips = {"10.9.0.0"},
						   .vip_bits = 24,
						   .ports = {443, 443}});
	f.state = mesh_build(b);
	state_builder_free(b);
	f.v = state_service_by_key(f.state, "demo/" HOST);
	assert_non_null(f.v);
	assert_int_equal(dns_wildcards_new(&f.w), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dns_wildcards_free(f->w);
	state_unref(f->state);
	return 0;
}

static int take(struct fixture *f, const char *name, uint64_t pod, uint64_t now_us,
		struct cv_addr *ret)
{
	const struct dns_wildcard_ask ask = {name, pod, now_us, true};

	return dns_wildcard_take(f->w, f->v, &ask, ret);
}

static const char *name_at(struct fixture *f, const struct cv_addr *addr, uint64_t pod,
			   uint64_t now_us)
{
	const struct dns_wildcard_dial dial = {*addr, pod, now_us};

	return dns_wildcard_name(f->w, HOST, &dial);
}

static void only_hosts_that_are_resolved_by_name_have_such_addresses(void **state)
{
	struct fixture *f = *state;

	assert_true(dns_wildcard_has(f->v));
	assert_false(dns_wildcard_has(state_service_by_key(f->state, "demo/*.plain.com")));
}

static void a_name_keeps_its_address_and_an_address_leads_to_its_name(void **state)
{
	struct dns_wildcard_dial dial = {mesh_addr("241.0.7.0"), POD, 2};
	struct fixture *f = *state;
	struct cv_addr a, b, again;

	assert_int_equal(take(f, "api.example.com", POD, 0, &a), 0);
	assert_int_equal(take(f, "www.example.com", POD, 0, &b), 0);
	assert_int_equal(take(f, "api.example.com", POD + 1, 1, &again), 0);
	assert_memory_equal(&a, &again, sizeof(a));
	assert_memory_not_equal(&a, &b, sizeof(a));
	assert_memory_equal(a.bytes, mesh_addr("241.0.7.0").bytes, 15);
	assert_string_equal(name_at(f, &a, POD, 2), "api.example.com");
	assert_string_equal(name_at(f, &b, POD, 2), "www.example.com");
	assert_null(dns_wildcard_name(f->w, HOST, &dial));
	dial.addr = a;
	assert_null(dns_wildcard_name(f->w, "*.other.com", &dial));
	assert_string_equal(dns_wildcard_name(f->w, HOST, &dial), "api.example.com");
}

static void a_name_has_the_same_address_after_a_restart(void **state)
{
	struct fixture *f = *state;
	struct cv_addr a, again;

	assert_int_equal(take(f, "api.example.com", POD, 0, &a), 0);
	dns_wildcards_free(f->w);
	assert_int_equal(dns_wildcards_new(&f->w), 0);
	assert_null(name_at(f, &a, POD, 2));
	assert_int_equal(take(f, "api.example.com", POD, 0, &again), 0);
	assert_memory_equal(&a, &again, sizeof(a));
}

static void a_family_without_a_range_has_no_address(void **state)
{
	const struct dns_wildcard_ask ask = {"api.example.com", POD, 0, false};
	struct fixture *f = *state;
	struct cv_addr a;

	assert_int_equal(dns_wildcard_take(f->w, f->v, &ask, &a), -EAFNOSUPPORT);
}

/* Names until there is no room. Return: how many. */
static int fill(struct fixture *f, uint64_t pod, uint64_t now_us)
{
	char name[64];
	struct cv_addr a;
	int n = 0, r;

	do {
		(void)snprintf(name, sizeof(name), "n%d-%d.example.com", (int)pod, n);
		r = take(f, name, pod, now_us, &a);
		n += r == 0;
	} while (r == 0);
	assert_int_equal(r, -ENOSPC);
	return n;
}

static void one_pod_has_half_and_all_have_what_there_is(void **state)
{
	struct fixture *f = *state;
	struct cv_addr a;

	assert_int_equal(fill(f, 1, 0), 127);
	assert_int_equal(fill(f, 2, 0), 127);
	assert_int_equal(fill(f, 3, 0), 0);
	/* what has one keeps it, whoever asks */
	assert_int_equal(take(f, "n1-5.example.com", 3, 0, &a), 0);
	assert_string_equal(name_at(f, &a, 3, 0), "n1-5.example.com");
}

static void an_address_is_anothers_only_after_an_hour_without_use(void **state)
{
	struct fixture *f = *state;
	struct cv_addr used, a;

	assert_int_equal(fill(f, 1, 0), 127);
	assert_int_equal(fill(f, 2, 0), 127);
	assert_int_equal(take(f, "n1-0.example.com", 1, 0, &used), 0);
	assert_int_equal(take(f, "new.example.com", 3, HOUR_US, &a), -ENOSPC);
	/* a connection counts as use */
	assert_string_equal(name_at(f, &used, 1, HOUR_US), "n1-0.example.com");
	assert_int_equal(fill(f, 3, HOUR_US + 1), 127);
	assert_int_equal(fill(f, 4, HOUR_US + 1), 126);
	assert_string_equal(name_at(f, &used, 1, HOUR_US + 1), "n1-0.example.com");
}

static void who_has_not_asked_for_a_name_is_not_led_there(void **state)
{
	struct fixture *f = *state;
	struct cv_addr a, other;
	char name[64];

	assert_int_equal(take(f, "api.example.com", 1, 0, &a), 0);
	assert_null(name_at(f, &a, 2, 0));
	assert_int_equal(take(f, "api.example.com", 2, 0, &a), 0);
	assert_string_equal(name_at(f, &a, 2, 0), "api.example.com");
	assert_string_equal(name_at(f, &a, 1, 0), "api.example.com");
	/* idle, it becomes what another pod says, for that pod alone */
	for (int i = 0; i < 4096; i++) {
		(void)snprintf(name, sizeof(name), "e%d.example.com", i);
		assert_int_equal(take(f, name, 3, 2 * HOUR_US, &other), 0);
		if (cv_addr_equal(&other, &a))
			break;
		dns_wildcards_free(f->w);
		assert_int_equal(dns_wildcards_new(&f->w), 0);
		assert_int_equal(take(f, "api.example.com", 1, 0, &a), 0);
	}
	assert_string_equal(name_at(f, &a, 3, 2 * HOUR_US), name);
	assert_null(name_at(f, &a, 1, 2 * HOUR_US));
}

/* Pods come and go, a name stays. */
static void the_pods_of_a_name_are_bounded_and_the_idlest_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct cv_addr a;

	for (uint64_t pod = 1; pod <= 1024; pod++)
		assert_int_equal(take(f, "api.example.com", pod, pod, &a), 0);
	assert_non_null(name_at(f, &a, 1, 1025));
	assert_int_equal(take(f, "api.example.com", 1025, 1025, &a), 0);
	assert_null(name_at(f, &a, 2, 1025));
	for (uint64_t pod = 1; pod <= 1025; pod++)
		assert_true(pod == 2 || name_at(f, &a, pod, 1026));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(only_hosts_that_are_resolved_by_name_have_such_addresses),
		T(a_name_keeps_its_address_and_an_address_leads_to_its_name),
		T(a_name_has_the_same_address_after_a_restart),
		T(a_family_without_a_range_has_no_address),
		T(one_pod_has_half_and_all_have_what_there_is),
		T(an_address_is_anothers_only_after_an_hour_without_use),
		T(who_has_not_asked_for_a_name_is_not_led_there),
		T(the_pods_of_a_name_are_bounded_and_the_idlest_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

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

/* Below a wildcard of many that there are. */
static int take_of(struct fixture *f, unsigned int wildcard, uint64_t pod, uint64_t now_us)
{
	struct service_def def = *f->v->def;
	struct service v = *f->v;
	char host[64], name[64];
	struct cv_addr a;
	int r = 0;

	(void)snprintf(host, sizeof(host), "*.w%u.example.com", wildcard);
	def.hostname = host;
	v.def = &def;
	for (unsigned int i = 0; i < 127 && r == 0; i++) {
		(void)snprintf(name, sizeof(name), "n%u.w%u.example.com", i, wildcard);
		r = dns_wildcard_take(f->w, &v, &(struct dns_wildcard_ask){name, pod, now_us, true},
				      &a);
	}
	return r;
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

/* Names until there is no room for this pod. Return: how many. */
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

static void a_pod_has_as_many_as_it_leaves_free(void **state)
{
	struct fixture *f = *state;
	struct cv_addr a;

	assert_int_equal(fill(f, 1, 0), 127);
	assert_int_equal(fill(f, 2, 0), 64);
	assert_int_equal(fill(f, 3, 0), 32);
	for (uint64_t pod = 4; pod <= 8; pod++)
		assert_int_equal(fill(f, pod, 0), 1 << (8 - pod));
	assert_int_equal(fill(f, 9, 0), 0);
	/* what has one keeps it, whoever asks */
	assert_int_equal(take(f, "n1-5.example.com", 9, 0, &a), 0);
	assert_string_equal(name_at(f, &a, 9, 0), "n1-5.example.com");
}

static void an_address_is_anothers_only_after_an_hour_without_use(void **state)
{
	struct fixture *f = *state;
	struct cv_addr used, a;

	for (uint64_t pod = 1; pod <= 8; pod++)
		(void)fill(f, pod, 0);
	assert_int_equal(take(f, "n1-0.example.com", 1, 0, &used), 0);
	assert_int_equal(take(f, "new.example.com", 9, HOUR_US, &a), -ENOSPC);
	/* a connection counts as use */
	assert_string_equal(name_at(f, &used, 1, HOUR_US), "n1-0.example.com");
	assert_int_equal(fill(f, 9, HOUR_US + 1), 127);
	assert_int_equal(fill(f, 10, HOUR_US + 1), 63);
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

static void one_pod_does_not_have_all_that_a_node_has(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(take_of(f, i, 1, 0), 0);
	assert_int_equal(take_of(f, 8, 1, 0), -ENOSPC); /* the 1,025th name is among these */
	assert_int_equal(take_of(f, 0, 1, HOUR_US), 0); /* which it has already */
	assert_int_equal(take_of(f, 9, 2, HOUR_US), 0);
	/* what it has not used for an hour does not count */
	assert_int_equal(take_of(f, 10, 1, 2 * HOUR_US), 0);
}

static void a_node_has_so_many_names_and_idle_ones_make_room(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 129; i++)
		assert_int_equal(take_of(f, i, i, 0), 0);
	assert_int_equal(take_of(f, 129, 129, 0), -ENOSPC);
	assert_int_equal(take_of(f, 130, 130, HOUR_US), -ENOSPC);
	/* and are looked for once a second */
	assert_int_equal(take_of(f, 130, 130, HOUR_US + 1), -ENOSPC);
	assert_int_equal(take_of(f, 130, 130, HOUR_US + 1000 * 1000), 0);
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

static void refusals_are_counted_and_told_now_and_then(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dns_wildcard_refused(f->w, 1000), 1);
	for (uint64_t t = 1001; t < 1100; t++)
		assert_int_equal(dns_wildcard_refused(f->w, t), 0);
	assert_int_equal(dns_wildcard_refused(f->w, 1000 + 10 * 1000 * 1000), 100);
	assert_int_equal(dns_wildcard_refused(f->w, 1001 + 10 * 1000 * 1000), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(only_hosts_that_are_resolved_by_name_have_such_addresses),
		T(a_name_keeps_its_address_and_an_address_leads_to_its_name),
		T(a_name_has_the_same_address_after_a_restart),
		T(a_family_without_a_range_has_no_address),
		T(a_pod_has_as_many_as_it_leaves_free),
		T(an_address_is_anothers_only_after_an_hour_without_use),
		T(who_has_not_asked_for_a_name_is_not_led_there),
		T(one_pod_does_not_have_all_that_a_node_has),
		T(a_node_has_so_many_names_and_idle_ones_make_room),
		T(the_pods_of_a_name_are_bounded_and_the_idlest_is_forgotten),
		T(refusals_are_counted_and_told_now_and_then),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

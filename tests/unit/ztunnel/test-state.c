/* SPDX-License-Identifier: Apache-2.0 */
/* state - snapshots stay as they were; conflicts are decided as documented, whatever came last. */
#include "ztunnel/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/ztunnel/mesh.h"

#define HTTPD "demo/httpd.demo.svc.cluster.local"

static int setup(void **state)
{
	struct state_builder *b = NULL;

	assert_int_equal(state_builder_new("n1", &b), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	state_builder_free(*state);
	return 0;
}

static const struct workload *by_addr(const struct state *s, const char *addr)
{
	struct cv_addr a = mesh_addr(addr);

	return state_workload_by_addr(s, &a);
}

static const struct service *by_vip(const struct state *s, const char *addr, const char *ns)
{
	struct cv_addr a = mesh_addr(addr);

	return state_service_by_addr(s, &a, ns);
}

static void workloads_are_found_by_uid_and_each_address(void **state)
{
	struct state_builder *b = *state;
	struct state *s;

	mesh_put_workload(b,
			  &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1", "fd00::1"}});
	s = mesh_build(b);
	assert_string_equal(by_addr(s, "10.0.0.1")->name, "a");
	assert_ptr_equal(by_addr(s, "fd00::1"), by_addr(s, "10.0.0.1"));
	assert_non_null(state_workload_by_uid(s, "Kubernetes//Pod/demo/a"));
	assert_null(by_addr(s, "10.0.0.2"));
	assert_string_equal(by_addr(s, "10.0.0.1")->app->identity,
			    "spiffe://cluster.local/ns/demo/sa/default");
	state_unref(s);
}

static void a_snapshot_does_not_change(void **state)
{
	struct state_builder *b = *state;
	struct state *old, *new;

	mesh_put_workload(b, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	old = mesh_build(b);
	mesh_put_workload(b, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.2"}});
	new = mesh_build(b);
	assert_non_null(by_addr(old, "10.0.0.1"));
	assert_null(by_addr(old, "10.0.0.2"));
	assert_null(by_addr(new, "10.0.0.1"));
	assert_non_null(by_addr(new, "10.0.0.2"));
	assert_int_equal(state_builder_del_address(b, "Kubernetes//Pod/demo/a"), 0);
	state_unref(old);
	old = mesh_build(b);
	assert_null(by_addr(old, "10.0.0.2"));
	assert_non_null(by_addr(new, "10.0.0.2"));
	state_unref(old);
	state_unref(new);
}

static void host_network_workloads_own_no_address(void **state)
{
	struct state_builder *b = *state;
	struct state *s;

	mesh_put_workload(b, &(struct mesh_workload){
				     .name = "h", .addrs = {"10.0.0.1"}, .is_host_network = true});
	s = mesh_build(b);
	assert_null(by_addr(s, "10.0.0.1"));
	assert_non_null(state_workload_by_uid(s, "Kubernetes//Pod/demo/h"));
	state_unref(s);
}

static void of_two_with_one_address_the_tunnelled_one_wins(void **state)
{
	struct state_builder *b = *state;
	struct mesh_workload plain = {.name = "plain", .addrs = {"10.0.0.1"}, .is_tcp = true};
	struct mesh_workload tunnel = {.name = "tunnel", .addrs = {"10.0.0.1"}};
	struct state *s;

	mesh_put_workload(b, &tunnel);
	mesh_put_workload(b, &plain);
	s = mesh_build(b);
	assert_string_equal(by_addr(s, "10.0.0.1")->name, "tunnel");
	state_unref(s);
	assert_int_equal(state_builder_del_address(b, "Kubernetes//Pod/demo/tunnel"), 0);
	s = mesh_build(b);
	assert_string_equal(by_addr(s, "10.0.0.1")->name, "plain");
	state_unref(s);
}

static void endpoints_may_come_before_their_service(void **state)
{
	struct state_builder *b = *state;
	struct mesh_workload w = {.name = "a", .addrs = {"10.0.0.1"}, .services = {HTTPD}};
	struct state *s;

	mesh_put_workload(b, &w);
	s = mesh_build(b);
	assert_null(state_service_by_key(s, HTTPD));
	state_unref(s);
	mesh_put_service(b, &(struct mesh_service){.name = "httpd", .vips = {"10.96.0.1"}});
	s = mesh_build(b);
	assert_int_equal(state_service_by_key(s, HTTPD)->endpoints_count, 1);
	assert_ptr_equal(by_vip(s, "10.96.0.1", "x"), state_service_by_key(s, HTTPD));
	state_unref(s);
	assert_int_equal(state_builder_del_address(b, HTTPD), 0);
	s = mesh_build(b);
	assert_null(state_service_by_key(s, HTTPD));
	assert_null(by_vip(s, "10.96.0.1", "x"));
	state_unref(s);
}

static void unhealthy_endpoints_are_left_out(void **state)
{
	struct state_builder *b = *state;
	struct mesh_workload w = {.name = "a", .addrs = {"10.0.0.1"}, .services = {HTTPD}};
	struct state *s;

	mesh_put_service(b, &(struct mesh_service){.name = "httpd"});
	w.is_unhealthy = true;
	mesh_put_workload(b, &w);
	s = mesh_build(b);
	assert_int_equal(state_service_by_key(s, HTTPD)->endpoints_count, 0);
	state_unref(s);
	w.is_unhealthy = false;
	mesh_put_workload(b, &w);
	s = mesh_build(b);
	assert_int_equal(state_service_by_key(s, HTTPD)->endpoints_count, 1);
	state_unref(s);
}

static void shared_vips_prefer_own_namespace_then_canonical(void **state)
{
	struct state_builder *b = *state;
	struct state *s;

	mesh_put_service(
		b, &(struct mesh_service){.name = "a", .namespace_ = "a", .vips = {"10.96.0.1"}});
	mesh_put_service(b, &(struct mesh_service){.name = "b",
						   .namespace_ = "b",
						   .vips = {"10.96.0.1"},
						   .is_canonical = true});
	s = mesh_build(b);
	assert_string_equal(by_vip(s, "10.96.0.1", "a")->def->name, "a");
	assert_string_equal(by_vip(s, "10.96.0.1", "b")->def->name, "b");
	assert_string_equal(by_vip(s, "10.96.0.1", "other")->def->name, "b");
	state_unref(s);
}

static void of_the_entries_of_a_host_the_first_is_for_the_other_namespaces(void **state)
{
	static const char host[] = "api.example.com";
	struct state_builder *b = *state;
	struct state *s;

	mesh_put_service(b, &(struct mesh_service){.name = "new",
						   .namespace_ = "a",
						   .hostname = host,
						   .vips = {"240.240.0.1"}});
	mesh_put_service(b, &(struct mesh_service){.name = "old",
						   .namespace_ = "b",
						   .hostname = host,
						   .vips = {"240.240.0.1"},
						   .is_first = true});
	s = mesh_build(b);
	assert_string_equal(by_vip(s, "240.240.0.1", "a")->def->name, "new");
	assert_string_equal(by_vip(s, "240.240.0.1", "other")->def->name, "old");
	assert_string_equal(state_service_by_hostname(s, host, "a")->def->name, "new");
	assert_string_equal(state_service_by_hostname(s, host, "other")->def->name, "old");
	state_unref(s);
}

static void namespace_only_services_are_hidden(void **state)
{
	struct state_builder *b = *state;
	struct state *s;

	mesh_put_service(b, &(struct mesh_service){
				    .name = "a", .vips = {"10.96.0.1"}, .is_namespace_only = true});
	s = mesh_build(b);
	assert_null(by_vip(s, "10.96.0.1", "other"));
	assert_non_null(by_vip(s, "10.96.0.1", "demo"));
	assert_null(state_service_by_hostname(s, "a.demo.svc.cluster.local", "other"));
	state_unref(s);
}

static void the_longest_cidr_wins(void **state)
{
	struct state_builder *b = *state;
	struct state *s;

	mesh_put_service(
		b, &(struct mesh_service){
			   .name = "wide", .namespace_ = "x", .vips = {"10.0.0.0"}, .vip_bits = 8});
	mesh_put_service(b, &(struct mesh_service){.name = "narrow",
						   .namespace_ = "y",
						   .vips = {"10.1.0.0"},
						   .vip_bits = 16});
	s = mesh_build(b);
	assert_string_equal(by_vip(s, "10.1.2.3", "z")->def->name, "narrow");
	assert_string_equal(by_vip(s, "10.1.2.3", "x")->def->name, "wide");
	assert_string_equal(by_vip(s, "10.2.2.3", "z")->def->name, "wide");
	assert_null(by_vip(s, "11.0.0.1", "z"));
	assert_null(by_vip(s, "fd00::1", "z"));
	state_unref(s);
}

static void missing_policies_of_this_node_are_noticed(void **state)
{
	struct state_builder *b = *state;
	Istio__Security__Authorization m = ISTIO__SECURITY__AUTHORIZATION__INIT;
	struct mesh_workload w = {
		.name = "a", .addrs = {"10.0.0.1"}, .policies = {"demo/p"}, .node = "n2"};

	m.name = "p";
	m.namespace_ = "demo";
	m.scope = ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
	mesh_put_workload(b, &w);
	assert_false(state_builder_is_missing_policies(b));
	w.node = "n1";
	mesh_put_workload(b, &w);
	assert_true(state_builder_is_missing_policies(b));
	mesh_put_policy(b, &m);
	assert_false(state_builder_is_missing_policies(b));
	mesh_put_policy(b, &m);
	assert_false(state_builder_is_missing_policies(b));
	assert_int_equal(state_builder_del_policy(b, "demo/p"), 0);
	assert_true(state_builder_is_missing_policies(b));
	w.policies[0] = NULL;
	mesh_put_workload(b, &w);
	assert_false(state_builder_is_missing_policies(b));
}

static void verdicts_are_asked_for_again_only_when_they_may_differ(void **state)
{
	struct state_builder *b = *state;
	struct mesh_workload w = {.name = "a", .addrs = {"10.0.0.1"}};
	Istio__Security__Authorization m = ISTIO__SECURITY__AUTHORIZATION__INIT;
	struct state *s[5];

	m.name = "p";
	m.namespace_ = "demo";
	mesh_put_workload(b, &w);
	s[0] = mesh_build(b);
	w.services[0] = HTTPD;
	mesh_put_workload(b, &w);
	s[1] = mesh_build(b);
	w.policies[0] = "demo/q";
	mesh_put_workload(b, &w);
	s[2] = mesh_build(b);
	mesh_put_policy(b, &m);
	s[3] = mesh_build(b);
	assert_int_equal(state_policy_generation(s[0]), state_policy_generation(s[1]));
	w.incarnation = 2;
	mesh_put_workload(b, &w);
	s[4] = mesh_build(b);
	assert_true(state_policy_generation(s[4]) > state_policy_generation(s[3]));
	assert_true(state_policy_generation(s[2]) > state_policy_generation(s[1]));
	assert_true(state_policy_generation(s[3]) > state_policy_generation(s[2]));
	for (int i = 0; i < 5; i++)
		state_unref(s[i]);
}

/* Each time all open connections are looked at again, and verdicts without a tunnel are void: not
 * whenever a pod begins or ends somewhere. */
static void pods_of_other_nodes_change_no_verdict(void **state)
{
	struct state_builder *b = *state;
	const struct {
		const char *node; /* NULL: it goes */
		bool is_other;
	} steps[] = {{"n2", false}, {"n3", false}, {"n1", true}, {"n2", true},
		     {NULL, false}, {"n1", true},  {NULL, true}};
	struct mesh_workload w = {.name = "a", .addrs = {"10.0.0.1"}};
	struct state *s = mesh_build(b);

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		uint64_t before = state_policy_generation(s);

		w.node = steps[i].node;
		if (w.node)
			mesh_put_workload(b, &w);
		else
			assert_int_equal(state_builder_del_address(b, "Kubernetes//Pod/demo/a"), 0);
		state_unref(s);
		s = mesh_build(b);
		assert_int_equal(state_policy_generation(s) != before, steps[i].is_other);
	}
	state_unref(s);
}

static uint64_t generation_after(struct state_builder *b)
{
	struct state *s = mesh_build(b);
	uint64_t n = state_policy_generation(s);

	state_unref(s);
	return n;
}

/* Its address was another pod's, whose node has not said yet that it is gone: without a tunnel
 * nobody gets there until it has. */
static void who_is_found_at_a_pod_s_address_changes_verdicts(void **state)
{
	struct state_builder *b = *state;
	struct mesh_workload here = {.name = "b", .addrs = {"10.0.0.1"}};
	struct mesh_workload stale = {.name = "a", .addrs = {"10.0.0.1"}, .node = "n2"};
	struct mesh_workload later = {.name = "c", .addrs = {"10.0.0.1"}, .node = "n2"};
	uint64_t before;

	mesh_put_workload(b, &stale);
	mesh_put_workload(b, &here);
	before = generation_after(b);
	/* still the same one that is found */
	mesh_put_workload(b, &later);
	mesh_put_workload(b, &stale);
	assert_int_equal(state_builder_del_address(b, "Kubernetes//Pod/demo/c"), 0);
	assert_int_equal(generation_after(b), before);
	assert_int_equal(state_builder_del_address(b, "Kubernetes//Pod/demo/a"), 0);
	assert_true(generation_after(b) > before);
	before = generation_after(b);
	mesh_put_workload(b, &stale);
	assert_true(generation_after(b) > before);
	before = generation_after(b);
	stale.addrs[0] = "10.0.0.9";
	mesh_put_workload(b, &stale);
	assert_true(generation_after(b) > before);
	/* made anew under its name, with another address */
	before = generation_after(b);
	here.addrs[0] = "10.0.0.2";
	mesh_put_workload(b, &here);
	assert_true(generation_after(b) > before);
}

/* Which node a workload is on may be missing, or another word for this one: whose pods are here the
 * agent knows. */
static void a_pod_of_the_agent_s_is_here_whatever_its_workload_says(void **state)
{
	static const char uid[] = "Kubernetes//Pod/demo/a";
	struct state_builder *b = *state;
	struct mesh_workload w = {.name = "a", .addrs = {"10.0.0.1"}, .node = "N1.example"};
	uint64_t before;

	assert_int_equal(state_builder_add_pod(b, uid), 0);
	assert_int_equal(state_builder_add_pod(b, uid), 0);
	mesh_put_workload(b, &w);
	before = generation_after(b);
	w.policies[0] = "demo/p";
	mesh_put_workload(b, &w);
	assert_true(generation_after(b) > before);
	assert_true(state_builder_is_missing_policies(b));
	assert_int_equal(state_builder_renew(&b), 0);
	*state = b;
	mesh_put_workload(b, &w);
	state_builder_del_pod(b, uid);
	before = generation_after(b);
	w.policies[0] = NULL;
	mesh_put_workload(b, &w);
	assert_true(state_builder_is_looser(b));
	assert_true(generation_after(b) > before);
	/* the last one: it is another node's now */
	state_builder_del_pod(b, uid);
	before = generation_after(b);
	w.policies[0] = "demo/p";
	mesh_put_workload(b, &w);
	assert_int_equal(generation_after(b), before);
}

/* Random changes, then everything taken away: nothing is left over and nothing leaks (run with
 * SAN=1). */
static void random_changes_leave_nothing_behind(void **state)
{
	static const char *const keys[] = {HTTPD, "demo/b.demo.svc.cluster.local",
					   "x/c.x.svc.cluster.local"};
	static const char *const names[] = {"a", "b", "c", "d", "e"};
	static const char *const addrs[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"};
	struct state_builder *b = *state;
	struct state *s = NULL;
	char uid[64];

	srand(3);
	for (int i = 0; i < 2000; i++) {
		const char *name = names[rand() % 5];

		if (rand() % 3 == 0) {
			(void)snprintf(uid, sizeof(uid), "Kubernetes//Pod/demo/%s", name);
			assert_int_equal(state_builder_del_address(b, uid), 0);
		} else if (rand() % 3 == 0) {
			mesh_put_service(b,
					 &(struct mesh_service){.name = rand() % 2 ? "httpd" : "b",
								.vips = {addrs[rand() % 4]}});
		} else {
			mesh_put_workload(b,
					  &(struct mesh_workload){
						  .name = name,
						  .addrs = {addrs[rand() % 4], addrs[rand() % 4]},
						  .services = {keys[rand() % 3], keys[rand() % 3]},
						  .is_unhealthy = rand() % 2});
		}
		if (rand() % 4 == 0) {
			state_unref(s);
			s = mesh_build(b);
		}
	}
	for (int i = 0; i < 5; i++) {
		(void)snprintf(uid, sizeof(uid), "Kubernetes//Pod/demo/%s", names[i]);
		assert_int_equal(state_builder_del_address(b, uid), 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(state_builder_del_address(b, keys[i]), 0);
	state_unref(s);
	s = mesh_build(b);
	for (int i = 0; i < 4; i++) {
		assert_null(by_addr(s, addrs[i]));
		assert_null(by_vip(s, addrs[i], "demo"));
	}
	state_unref(s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(workloads_are_found_by_uid_and_each_address),
		T(a_snapshot_does_not_change),
		T(host_network_workloads_own_no_address),
		T(of_two_with_one_address_the_tunnelled_one_wins),
		T(endpoints_may_come_before_their_service),
		T(unhealthy_endpoints_are_left_out),
		T(shared_vips_prefer_own_namespace_then_canonical),
		T(of_the_entries_of_a_host_the_first_is_for_the_other_namespaces),
		T(namespace_only_services_are_hidden),
		T(the_longest_cidr_wins),
		T(missing_policies_of_this_node_are_noticed),
		T(verdicts_are_asked_for_again_only_when_they_may_differ),
		T(pods_of_other_nodes_change_no_verdict),
		T(who_is_found_at_a_pod_s_address_changes_verdicts),
		T(a_pod_of_the_agent_s_is_here_whatever_its_workload_says),
		T(random_changes_leave_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

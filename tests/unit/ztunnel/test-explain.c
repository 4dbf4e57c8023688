/* SPDX-License-Identifier: Apache-2.0 */
/* explain - answers are those of resolve_outbound() and authz_check(); bad questions are refused.
 */
#include "ztunnel/explain.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "http/server.h"
#include "tests/unit/ztunnel/mesh.h"

#define CLIENT "spiffe://cluster.local/ns/demo/sa/client"

static void put_policy(struct state_builder *b, const char *name, Istio__Security__Action action,
		       const char *principal)
{
	Istio__Security__Authorization auth = ISTIO__SECURITY__AUTHORIZATION__INIT;
	Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules[1] = {&rule};
	Istio__Security__Clause clause = ISTIO__SECURITY__CLAUSE__INIT, *clauses[1] = {&clause};
	Istio__Security__Match match = ISTIO__SECURITY__MATCH__INIT, *matches[1] = {&match};
	Istio__Security__StringMatch text = ISTIO__SECURITY__STRING_MATCH__INIT,
				     *texts[1] = {&text};

	text.match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
	text.exact = (char *)(uintptr_t)principal;
	match.n_principals = 1;
	match.principals = texts;
	clause.n_matches = 1;
	clause.matches = matches;
	rule.n_clauses = 1;
	rule.clauses = clauses;
	auth.name = (char *)(uintptr_t)name;
	auth.namespace_ = "demo";
	auth.scope = ISTIO__SECURITY__SCOPE__NAMESPACE;
	auth.action = action;
	auth.n_rules = 1;
	auth.rules = rules;
	mesh_put_policy(b, &auth);
}

static int setup(void **state)
{
	static const char *const web = "demo/web.demo.svc.cluster.local";
	struct state_builder *b = NULL;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(b, &(struct mesh_workload){
				     .name = "client", .account = "client", .addrs = {"10.0.0.1"}});
	mesh_put_workload(b, &(struct mesh_workload){.name = "outsider",
						     .account = "outsider",
						     .addrs = {"10.0.0.9"},
						     .is_tcp = true});
	mesh_put_service(b, &(struct mesh_service){
				    .name = "web", .vips = {"10.9.0.1"}, .ports = {80, 8080}});
	mesh_put_workload(b, &(struct mesh_workload){.name = "web-1",
						     .account = "web",
						     .addrs = {"10.0.0.2", "fd00::2"},
						     .services = {web},
						     .ports = {80, 8080}});
	mesh_put_workload(b, &(struct mesh_workload){.name = "web-2",
						     .account = "web",
						     .addrs = {"10.0.0.3"},
						     .services = {web},
						     .ports = {80, 8080},
						     .capacity = 3});
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	state_builder_free(*state);
	return 0;
}

static json_t *ask(struct state_builder *b, const char *path, const char *query,
		   unsigned int expected)
{
	const struct http_request req = {.method = "GET", .path = path, .query = query};
	struct state *s = mesh_build(b);
	unsigned int status = 0;
	json_t *v = explain_request(s, &req, &status);

	state_unref(s);
	assert_non_null(v);
	if (status != expected)
		fail_msg("%s?%s: %u %s", path, query, status,
			 json_string_value(json_object_get(v, "error")));
	return v;
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

TEST(a_service_has_a_route_for_each_endpoint)
{
	_cleanup_(json_decrefp) json_t *v =
		ask(*cmocka_state, "/explain", "from=client&to=web", 200);
	const json_t *routes = json_object_get(v, "routes"), *r;
	double sum = 0;
	size_t i;

	assert_string_equal(text(json_object_get(v, "to"), "address"), "10.9.0.1:80");
	assert_int_equal(json_array_size(routes), 2);
	json_array_foreach (routes, i, r) {
		bool is_second = streq(text(r, "dial"), "10.0.0.3:15008");
		double share = json_real_value(json_object_get(r, "share"));

		assert_string_equal(text(r, "kind"), "tunnel");
		assert_true(is_second || streq(text(r, "target"), "10.0.0.2:8080"));
		assert_float_equal(share, is_second ? 0.75 : 0.25, 0.01);
		assert_true(
			json_is_true(json_object_get(json_object_get(r, "inbound"), "allowed")));
		sum += share;
	}
	assert_float_equal(sum, 1, 1e-9);
}

TEST(every_spelling_of_a_name_is_understood)
{
	static const char *const queries[] = {
		"from=client&to=web:80",
		"from=demo/client&to=web.demo:80",
		"from=client.demo&to=demo/web",
		"from=10.0.0.1&to=web.demo.svc",
		"from=Kubernetes//Pod/demo/client&to=web.demo.svc.cluster.local:80",
		"from=client&to=10.9.0.1:80",
	};

	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		_cleanup_(json_decrefp) json_t *v = ask(*cmocka_state, "/explain", queries[i], 200);

		assert_string_equal(text(json_object_get(v, "from"), "identity"), CLIENT);
		assert_string_equal(text(json_object_get(v, "to"), "service"),
				    "demo/web.demo.svc.cluster.local");
	}
}

TEST(a_node_port_is_named_as_its_service)
{
	static const char *const ips[] = {"172.18.0.1", NULL};
	struct state_builder *b = *cmocka_state;
	json_t *v;

	mesh_put_node(b, "n1", ips);
	mesh_put_service(b, &(struct mesh_service){.name = "web",
						   .vips = {"10.9.0.1"},
						   .ports = {80, 8080},
						   .node_port = 30080});
	v = ask(b, "/explain", "from=demo/client&to=172.18.0.1:30080", 200);
	assert_string_equal(text(json_object_get(v, "to"), "address"), "172.18.0.1:30080");
	assert_string_equal(text(json_object_get(v, "to"), "service"),
			    "demo/web.demo.svc.cluster.local");
	assert_int_equal(json_array_size(json_object_get(v, "routes")), 2);
	json_decref(v);
	v = ask(b, "/explain", "from=demo/client&to=172.18.0.1:30081", 200);
	assert_true(json_is_null(json_object_get(json_object_get(v, "to"), "service")));
	json_decref(v);
}

TEST(a_host_port_is_named_as_its_pod)
{
	struct state_builder *b = *cmocka_state;
	const json_t *route;
	json_t *v;

	mesh_put_workload(b, &(struct mesh_workload){.name = "edge",
						     .addrs = {"10.0.0.77"},
						     .host_ports = {"172.18.0.1:8080"},
						     .host_target = 80});
	v = ask(b, "/explain", "from=demo/client&to=172.18.0.1:8080", 200);
	assert_string_equal(text(json_object_get(v, "to"), "address"), "172.18.0.1:8080");
	assert_true(json_is_null(json_object_get(json_object_get(v, "to"), "service")));
	assert_string_equal(text(json_object_get(json_object_get(v, "to"), "workload"), "name"),
			    "edge");
	route = json_array_get(json_object_get(v, "routes"), 0);
	assert_string_equal(text(route, "kind"), "tunnel");
	assert_string_equal(text(route, "target"), "10.0.0.77:80");
	json_decref(v);
	/* by way of its node also for itself */
	v = ask(b, "/explain", "from=demo/edge&to=172.18.0.1:8080", 200);
	assert_string_equal(text(json_array_get(json_object_get(v, "routes"), 0), "kind"),
			    "tunnel");
	json_decref(v);
	v = ask(b, "/explain", "from=demo/client&to=172.18.0.1:8081", 200);
	assert_true(json_is_null(json_object_get(json_object_get(v, "to"), "workload")));
	json_decref(v);
}

TEST(what_nobody_knows_is_refused)
{
	static const struct {
		const char *path, *query;
		unsigned int status;
	} bad[] = {
		{"/explain", "", 400},
		{"/explain", "from=client", 400},
		{"/explain", "from=nobody&to=web", 404},
		{"/explain", "from=client&to=nothing:80", 404},
		{"/explain", "from=client&to=outsider", 400},
		{"/explain", "from=client&to=web:0", 400},
		{"/explain", "from=client&to=web:65536", 400},
		{"/explain", "from=client&to=:80", 400},
		{"/explain", "from=client&to=[fd00::2", 400},
		{"/explain", "from=%zz&to=web", 400},
		{"/explain/inbound", "to=web-1", 400},
		{"/explain/inbound", "to=web-1&dst=10.0.0.2&src=10.0.0.1", 400},
		{"/explain/inbound", "to=x&dst=10.0.0.2:80&src=10.0.0.1", 404},
		{"/explain/policies", "", 400},
		{"/explain/policies", "pod=x", 404},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		json_decref(ask(*cmocka_state, bad[i].path, bad[i].query, bad[i].status));
	assert_false(explain_is_path("/explain/"));
}

/* Everything that @to means, first what is answered. */
static void check_means(struct state_builder *b, const char *to, const char *const wanted[])
{
	_cleanup_(freep) char *query = str_format("from=client&to=%s", to);
	_cleanup_(json_decrefp) json_t *v = ask(b, "/explain", query, 200);
	const json_t *dest = json_object_get(v, "to"), *others = json_object_get(dest, "others");
	size_t n = 0;

	assert_string_equal(text(dest, "address"), wanted[0]);
	while (wanted[n + 1]) {
		assert_string_equal(json_string_value(json_array_get(others, n)), wanted[n + 1]);
		n++;
	}
	assert_int_equal(json_array_size(others), n);
	assert_int_equal(json_integer_value(json_object_get(dest, "moreOthers")), 0);
}

TEST(words_that_mean_several_say_so)
{
	struct state_builder *b = *cmocka_state;

	mesh_put_service(b, &(struct mesh_service){.name = "many",
						   .vips = {"10.9.0.7"},
						   .ports = {80, 8080},
						   .more_ports = {443, 8443}});
	mesh_put_service(b, &(struct mesh_service){.name = "pods", .ports = {80, 8080}});
	mesh_put_workload(
		b, &(struct mesh_workload){.name = "pod-1",
					   .addrs = {"10.0.0.11"},
					   .services = {"demo/pods.demo.svc.cluster.local",
							"demo/many.demo.svc.cluster.local"}});
	mesh_put_workload(
		b, &(struct mesh_workload){.name = "pod-2",
					   .addrs = {"10.0.0.12"},
					   .services = {"demo/pods.demo.svc.cluster.local"}});
	check_means(b, "many", (const char *const[]){"10.9.0.7:80", "10.9.0.7:443", NULL});
	check_means(b, "many:443", (const char *const[]){"10.9.0.7:443", NULL});
	check_means(b, "10.9.0.7", (const char *const[]){"10.9.0.7:80", "10.9.0.7:443", NULL});
	check_means(b, "pods", (const char *const[]){"10.0.0.11:8080", "10.0.0.12:8080", NULL});
	check_means(b, "pods:9", (const char *const[]){"10.0.0.11:9", "10.0.0.12:9", NULL});
	check_means(b, "pod-1", (const char *const[]){"10.0.0.11:8080", "10.0.0.11:8443", NULL});
	check_means(b, "pod-2:1", (const char *const[]){"10.0.0.12:1", NULL});
}

TEST(endpoints_beyond_those_that_are_told_of_are_counted)
{
	_cleanup_(json_decrefp) json_t *v = NULL;
	char name[16], addr[16];

	for (unsigned int i = 0; i < 128; i++) {
		(void)snprintf(name, sizeof(name), "many-%u", i);
		(void)snprintf(addr, sizeof(addr), "10.1.0.%u", i);
		mesh_put_workload(
			*cmocka_state,
			&(struct mesh_workload){.name = name,
						.addrs = {addr},
						.services = {"demo/many.demo.svc.cluster.local"}});
	}
	mesh_put_service(
		*cmocka_state,
		&(struct mesh_service){.name = "many", .vips = {"10.9.0.8"}, .ports = {80, 80}});
	v = ask(*cmocka_state, "/explain", "from=client&to=many:80", 200);
	assert_int_equal(json_array_size(json_object_get(v, "routes")), 64);
	assert_true(json_number_value(json_object_get(v, "moreShare")) == 0.5);
}

TEST(a_name_below_a_wildcard_is_understood)
{
	static const char open_[] = "from=client&to=a.open.example.com:443";
	struct state_builder *b = *cmocka_state;
	json_t *v;

	mesh_put_service(b, &(struct mesh_service){.name = "wild",
						   .hostname = "*.wild.example.com",
						   .vips = {"241.0.7.0"},
						   .vip_bits = 24,
						   .ports = {443, 443}});
	mesh_put_workload(b, &(struct mesh_workload){.name = "wild",
						     .services = {"demo/*.wild.example.com"},
						     .ports = {443, 443},
						     .dns_host = "*.wild.example.com",
						     .is_tcp = true,
						     .is_host_network = true});
	mesh_put_service(b, &(struct mesh_service){
				    .name = "open",
				    .hostname = "*.open.example.com",
				    .ports = {443, 443},
				    .mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH});
	v = ask(b, "/explain", "from=client&to=a.b.wild.example.com", 200);
	assert_string_equal(text(json_object_get(v, "to"), "service"), "demo/*.wild.example.com");
	json_decref(v);
	v = ask(b, "/explain", open_, 404);
	assert_non_null(strstr(text(v, "error"), "name the one that its DNS gives"));
	json_decref(v);
	v = ask(b, "/explain", "from=client&to=wild.example.com:443", 404);
	assert_non_null(strstr(text(v, "error"), "no service and no pod is called"));
	json_decref(v);
}

TEST(a_denial_for_plaintext_names_the_peer_authentication)
{
	_cleanup_(json_decrefp) json_t *v = NULL;
	const json_t *change;

	put_policy(*cmocka_state, "converted_peer_authentication_w", ISTIO__SECURITY__ACTION__DENY,
		   "cluster.local/ns/demo/sa/client");
	v = ask(*cmocka_state, "/explain/inbound",
		"to=web-1&dst=10.0.0.2:80&src=10.0.0.1&identity=spiffe://cluster.local/ns/demo/sa/"
		"client",
		200);
	change = json_object_get(v, "change");
	assert_int_equal(json_array_size(change), 1);
	assert_non_null(strstr(json_string_value(json_array_get(change, 0)),
			       "PERMISSIVE in the PeerAuthentication that holds for it"));
}

TEST(plaintext_that_is_let_in_is_told_of_strict)
{
	_cleanup_(json_decrefp) json_t *plain = NULL, *proven = NULL;
	const json_t *change;

	plain = ask(*cmocka_state, "/explain/inbound", "to=web-1&dst=10.0.0.2:80&src=10.0.0.1",
		    200);
	change = json_object_get(plain, "change");
	assert_int_equal(json_array_size(change), 3);
	assert_string_equal(json_string_value(json_array_get(change, 2)),
			    "a PeerAuthentication with mode STRICT for demo/web-1: it comes in "
			    "without mutual TLS");
	proven = ask(*cmocka_state, "/explain/inbound",
		     "to=web-1&dst=10.0.0.2:80&src=10.0.0.1&identity=spiffe://cluster.local/ns/"
		     "demo/sa/client",
		     200);
	assert_int_equal(json_array_size(json_object_get(proven, "change")), 2);
}

/* By an annotation of its own, say: to enrol it once more changes nothing. */
TEST(a_pod_of_the_mesh_that_comes_in_plaintext_is_not_told_to_enrol)
{
	_cleanup_(json_decrefp) json_t *v = NULL;

	put_policy(*cmocka_state, "yes", ISTIO__SECURITY__ACTION__ALLOW,
		   "cluster.local/ns/demo/sa/client");
	v = ask(*cmocka_state, "/explain/inbound", "to=web-1&dst=10.0.0.2:80&src=10.0.0.1", 200);
	assert_true(json_is_false(json_object_get(v, "allowed")));
	assert_int_equal(json_array_size(json_object_get(v, "change")), 1);
}

TEST(a_pod_that_is_its_own_service_meets_its_policies)
{
	_cleanup_(json_decrefp) json_t *v =
		ask(*cmocka_state, "/explain", "from=web-2&to=10.9.0.1:80", 200);
	const json_t *routes = json_object_get(v, "routes"), *r;
	size_t i;

	assert_int_equal(json_array_size(routes), 2);
	json_array_foreach (routes, i, r)
		assert_true(
			json_is_true(json_object_get(json_object_get(r, "inbound"), "allowed")));
}

TEST(two_pods_of_one_name_must_be_told_apart)
{
	mesh_put_workload(*cmocka_state, &(struct mesh_workload){.name = "client",
								 .namespace_ = "other",
								 .account = "client",
								 .addrs = {"10.0.0.7"}});
	json_decref(ask(*cmocka_state, "/explain", "from=client&to=10.9.0.1:80", 400));
	json_decref(ask(*cmocka_state, "/explain", "from=other/client&to=10.9.0.1:80", 200));
}

/* Of one Deployment any pod will do, of two in two namespaces it would be whichever. */
TEST(two_owners_of_one_name_must_be_told_apart)
{
	static const char *const path = "/explain/policies";
	json_t *r;

	for (int i = 0; i < 3; i++)
		mesh_put_workload(*cmocka_state,
				  &(struct mesh_workload){
					  .name = (const char *[]){"job-1", "job-2", "job-3"}[i],
					  .owner = "job",
					  .namespace_ = i == 2 ? "other" : "demo",
					  .account = "job",
					  .addrs = {(const char *[]){"10.0.0.5", "10.0.0.6",
								     "10.0.0.7"}[i]}});
	r = ask(*cmocka_state, path, "pod=job", 400);
	assert_non_null(strstr(text(r, "error"), "several namespaces"));
	json_decref(r);
	json_decref(ask(*cmocka_state, "/explain", "from=client&to=job:80", 400));
	r = ask(*cmocka_state, path, "pod=other/job", 200);
	assert_string_equal(text(json_object_get(r, "workload"), "name"), "job-3");
	json_decref(r);
	json_decref(ask(*cmocka_state, path, "pod=demo/job", 200));
	json_decref(ask(*cmocka_state, path, "pod=job-1", 200));
}

TEST(a_denial_says_which_policy_and_what_would_change_it)
{
	_cleanup_(json_decrefp) json_t *v = NULL;
	const json_t *in;

	put_policy(*cmocka_state, "no", ISTIO__SECURITY__ACTION__DENY,
		   "cluster.local/ns/demo/sa/client");
	v = ask(*cmocka_state, "/explain", "from=client&to=web-1:8080", 200);
	in = json_object_get(json_array_get(json_object_get(v, "routes"), 0), "inbound");
	assert_true(json_is_false(json_object_get(in, "allowed")));
	assert_string_equal(text(in, "policy"), "demo/no");
	assert_string_equal(json_string_value(json_array_get(json_object_get(in, "change"), 0)),
			    "removing or narrowing the DENY policy demo/no");
	assert_true(json_is_true(
		json_object_get(json_array_get(json_object_get(in, "policies"), 0), "matches")));
}

TEST(an_outsider_has_no_identity_and_enrolling_would_help)
{
	_cleanup_(json_decrefp) json_t *v = NULL;
	const json_t *route, *in, *change;

	put_policy(*cmocka_state, "yes", ISTIO__SECURITY__ACTION__ALLOW,
		   "cluster.local/ns/demo/sa/outsider");
	v = ask(*cmocka_state, "/explain", "from=outsider&to=10.0.0.2:8080", 200);
	route = json_array_get(json_object_get(v, "routes"), 0);
	in = json_object_get(route, "inbound");
	change = json_object_get(in, "change");
	assert_string_equal(text(route, "kind"), "plain");
	assert_string_equal(text(route, "dial"), "10.0.0.2:8080");
	assert_int_equal(json_array_size(json_object_get(route, "identities")), 0);
	assert_true(json_is_false(json_object_get(in, "allowed")));
	assert_non_null(strstr(json_string_value(json_array_get(change, 1)),
			       "enrolling demo/outsider in the mesh"));
}

TEST(a_stranger_may_ask_too)
{
	_cleanup_(json_decrefp) json_t *v =
		ask(*cmocka_state, "/explain", "from=192.0.2.1&to=10.9.0.1:80", 200);

	assert_int_equal(json_array_size(json_object_get(v, "routes")), 2);
	assert_true(json_is_false(json_object_get(json_object_get(v, "from"), "isEnrolled")));
}

TEST(the_receiving_end_answers_for_a_given_identity)
{
	_cleanup_(json_decrefp) json_t *with = NULL, *without = NULL, *list = NULL;

	put_policy(*cmocka_state, "yes", ISTIO__SECURITY__ACTION__ALLOW,
		   "cluster.local/ns/demo/sa/client");
	with = ask(*cmocka_state, "/explain/inbound",
		   "to=web-1&dst=10.0.0.2:80&src=10.0.0.1&identity=" CLIENT, 200);
	without = ask(*cmocka_state, "/explain/inbound", "to=web-1&dst=10.0.0.2:80&src=10.0.0.1",
		      200);
	list = ask(*cmocka_state, "/explain/policies", "pod=web-1", 200);
	assert_true(json_is_true(json_object_get(with, "allowed")));
	assert_true(json_is_false(json_object_get(without, "allowed")));
	assert_int_equal(json_array_size(json_object_get(list, "policies")), 1);
}

TEST(a_policy_that_has_not_come_is_named)
{
	_cleanup_(json_decrefp) json_t *list = NULL;

	mesh_put_workload(*cmocka_state, &(struct mesh_workload){.name = "late",
								 .addrs = {"10.0.0.8"},
								 .policies = {"demo/missing"}});
	list = ask(*cmocka_state, "/explain/policies", "pod=late", 200);
	assert_string_equal(text(json_array_get(json_object_get(list, "policies"), 0), "error"),
			    "not received yet");
}

#define WITH_MESH(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_MESH(a_service_has_a_route_for_each_endpoint),
		WITH_MESH(every_spelling_of_a_name_is_understood),
		WITH_MESH(a_node_port_is_named_as_its_service),
		WITH_MESH(a_host_port_is_named_as_its_pod),
		WITH_MESH(what_nobody_knows_is_refused),
		WITH_MESH(words_that_mean_several_say_so),
		WITH_MESH(endpoints_beyond_those_that_are_told_of_are_counted),
		WITH_MESH(a_name_below_a_wildcard_is_understood),
		WITH_MESH(a_denial_for_plaintext_names_the_peer_authentication),
		WITH_MESH(plaintext_that_is_let_in_is_told_of_strict),
		WITH_MESH(a_pod_of_the_mesh_that_comes_in_plaintext_is_not_told_to_enrol),
		WITH_MESH(a_pod_that_is_its_own_service_meets_its_policies),
		WITH_MESH(two_pods_of_one_name_must_be_told_apart),
		WITH_MESH(two_owners_of_one_name_must_be_told_apart),
		WITH_MESH(a_denial_says_which_policy_and_what_would_change_it),
		WITH_MESH(an_outsider_has_no_identity_and_enrolling_would_help),
		WITH_MESH(a_stranger_may_ask_too),
		WITH_MESH(the_receiving_end_answers_for_a_given_identity),
		WITH_MESH(a_policy_that_has_not_come_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

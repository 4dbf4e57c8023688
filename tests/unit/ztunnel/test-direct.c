/* SPDX-License-Identifier: Apache-2.0 */
/* direct - which connections may do without a tunnel. */
#include "tests/unit/ztunnel/direct-pods.h"
#include "ztunnel/authz.h"

static uint32_t judge(struct fixture *f, const char *to)
{
	struct cv_sockaddr sa = mesh_sockaddr(to);
	struct state *s = mesh_build(f->b);
	uint32_t v = direct_judge(s, &f->src, &f->dst, &sa);

	state_unref(s);
	return v;
}

/* DENY of what shows no identity, as STRICT comes. */
static void deny_unknown(struct fixture *f)
{
	Google__Protobuf__Empty present = GOOGLE__PROTOBUF__EMPTY__INIT;
	Istio__Security__StringMatch any = ISTIO__SECURITY__STRING_MATCH__INIT, *anys[] = {&any};
	Istio__Security__Match match = ISTIO__SECURITY__MATCH__INIT;

	any.match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE;
	any.presence = &present;
	match.n_not_principals = 1;
	match.not_principals = anys;
	deny_put(f, &match);
}

static void policy_decides_by_identity_and_port(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	deny(f, NULL, false);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	assert_int_equal(judge(f, "10.0.0.2:81"), ZDS_VERDICT_DENY);
	deny(f, "cluster.local/ns/demo/sa/alice", false);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_DENY);
}

static void where_a_policy_looks_at_addresses_ztunnel_has_each_connection(void **state)
{
	struct fixture *f = *state;

	deny(f, NULL, true);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ZTUNNELS);
}

/* Of a source, or of anyone: *@of_src says which the answer is about. */
static uint32_t judge_plaintext_of(struct fixture *f, const char *to, const char *from,
				   uint32_t *of_src)
{
	struct cv_sockaddr sa = mesh_sockaddr(to);
	struct state *s = mesh_build(f->b);
	struct cv_addr src = {0};
	uint32_t v;

	if (from)
		assert_int_equal(cv_addr_parse(from, &src), 0);
	assert_int_equal(direct_judge_plaintext(NULL, &f->dst, &sa, &src, of_src),
			 ZDS_VERDICT_NONE);
	assert_int_equal(direct_judge_plaintext(s, NULL, &sa, &src, of_src), ZDS_VERDICT_NONE);
	v = direct_judge_plaintext(s, &f->dst, &sa, &src, of_src);
	state_unref(s);
	return v;
}

static uint32_t judge_plaintext(struct fixture *f, const char *to)
{
	uint32_t of_src, v = judge_plaintext_of(f, to, NULL, &of_src);

	assert_int_equal(of_src, 0);
	return v;
}

static void plaintext_is_judged_for_anyone_or_not_at_all(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge_plaintext(f, "10.0.0.2:81"), ZDS_VERDICT_ALLOW);
	deny(f, NULL, false);
	assert_int_equal(judge_plaintext(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	assert_int_equal(judge_plaintext(f, "10.0.0.2:81"), ZDS_VERDICT_DENY);
	assert_int_equal(judge_plaintext(f, "10.0.0.2:15008"), ZDS_VERDICT_NONE);
	assert_int_equal(judge_plaintext(f, "10.0.0.1:81"), ZDS_VERDICT_NONE);
	deny(f, NULL, true); /* who it is from may count */
	assert_int_equal(judge_plaintext(f, "10.0.0.2:81"), ZDS_VERDICT_NONE);
}

static void plaintext_is_judged_by_its_source_where_a_policy_looks_at_it(void **state)
{
	struct fixture *f = *state;
	uint32_t of_src;

	deny(f, NULL, true);
	assert_int_equal(judge_plaintext_of(f, "10.0.0.2:80", "10.9.9.9", &of_src),
			 ZDS_VERDICT_DENY);
	assert_int_equal(of_src, 1);
	assert_int_equal(judge_plaintext_of(f, "10.0.0.2:80", "10.9.9.8", &of_src),
			 ZDS_VERDICT_ALLOW);
	assert_int_equal(of_src, 1);
}

/* Of an open connection; @of_src as direct_judge_open() has it. */
static uint32_t judge_open(struct fixture *f, enum zds_open open, const char *from, bool of_src)
{
	struct zds_verdict ask = {.dst = mesh_sockaddr("10.0.0.2:80"), .open = open};
	struct state *s = mesh_build(f->b);
	uint32_t v, is_of_src;

	assert_int_equal(cv_addr_parse(from, &ask.src), 0);
	v = direct_judge_open(s, open == ZDS_OPEN_LIVE ? &f->src : NULL, &f->dst, &ask, &is_of_src);
	assert_int_equal(is_of_src, of_src);
	state_unref(s);
	return v;
}

static void what_is_open_is_judged_whatever_new_ones_are_made_by(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", false), ZDS_VERDICT_ALLOW);
	deny(f, NULL, true);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", true), ZDS_VERDICT_ALLOW);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.9.9.9", true), ZDS_VERDICT_DENY);
	deny(f, "cluster.local/ns/demo/sa/alice", false);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", false), ZDS_VERDICT_DENY);
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "b",
							.addrs = {"10.0.0.2"},
							.waypoint = "demo/way.example"});
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", true), ZDS_VERDICT_DENY);
}

/* Its object has gone, or has not come: it is still who it was. */
static void what_a_pod_without_a_workload_has_open_is_judged_by_its_account(void **state)
{
	struct fixture *f = *state;
	struct zds_verdict ask = {.dst = mesh_sockaddr("10.0.0.2:80"), .open = ZDS_OPEN_LIVE};
	struct state *s;
	uint32_t of_src;

	f->src.uid[0] = 'X';
	(void)snprintf(f->src.namespace_, sizeof(f->src.namespace_), "demo");
	(void)snprintf(f->src.service_account, sizeof(f->src.service_account), "alice");
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.2", true), ZDS_VERDICT_ALLOW);
	deny(f, "cluster.local/ns/demo/sa/alice", false);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.2", true), ZDS_VERDICT_DENY);
	(void)snprintf(f->src.service_account, sizeof(f->src.service_account), "bob");
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", true), ZDS_VERDICT_ALLOW);
	deny_unknown(f);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", true), ZDS_VERDICT_ALLOW);
	f->src.service_account[0] = '\0'; /* an agent that could not say */
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", true), ZDS_VERDICT_DENY);
	s = mesh_build(f->b);
	assert_int_equal(direct_judge_open(s, NULL, &f->dst, &ask, &of_src), ZDS_VERDICT_NONE);
	state_unref(s);
}

/* Who it was and how it comes, now that its pod has left. */
static void what_a_client_leaves_open_is_judged_as_both(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.0.0.1", true), ZDS_VERDICT_ALLOW);
	deny(f, "cluster.local/ns/demo/sa/alice", false);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.0.0.1", true), ZDS_VERDICT_DENY);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT_NAMELESS, "10.0.0.1", true),
			 ZDS_VERDICT_ALLOW);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.0.0.7", true), ZDS_VERDICT_ALLOW);
	deny(f, NULL, true);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.0.0.1", true), ZDS_VERDICT_ALLOW);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.9.9.9", true), ZDS_VERDICT_DENY);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT_NAMELESS, "10.9.9.9", true), ZDS_VERDICT_DENY);
	deny_unknown(f); /* STRICT */
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.0.0.1", true), ZDS_VERDICT_DENY);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", false), ZDS_VERDICT_ALLOW);
}

static void what_is_not_known_is_not_cached(void **state)
{
	struct fixture *f = *state;
	struct cv_sockaddr to = mesh_sockaddr("10.0.0.2:80");
	struct state *s = mesh_build(f->b);

	assert_int_equal(direct_judge(NULL, &f->src, &f->dst, &to), ZDS_VERDICT_NONE);
	assert_int_equal(direct_judge(s, NULL, &f->dst, &to), ZDS_VERDICT_NONE);
	assert_int_equal(direct_judge(s, &f->src, NULL, &to), ZDS_VERDICT_NONE);
	state_unref(s);
	/* Another's address, and one that is nobody's. */
	assert_int_equal(judge(f, "10.0.0.1:80"), ZDS_VERDICT_NONE);
	f->dst.addrs[0] = mesh_addr("10.0.0.3");
	assert_int_equal(judge(f, "10.0.0.3:80"), ZDS_VERDICT_NONE);
	pod_fill(&f->dst, "c", "10.0.0.2");
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_NONE);
}

/* What is said is still about one that was there under this name before. */
static void a_pod_made_anew_is_not_the_one_before_it(void **state)
{
	struct fixture *f = *state;
	const struct {
		const char *src, *dst;
		uint32_t verdict;
	} cases[] = {
		{"alice", "default", ZDS_VERDICT_ALLOW},
		{"bob", "default", ZDS_VERDICT_NONE},
		{"alice", "bob", ZDS_VERDICT_NONE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(f->src.service_account, sizeof(f->src.service_account), "%s",
			       cases[i].src);
		(void)snprintf(f->dst.service_account, sizeof(f->dst.service_account), "%s",
			       cases[i].dst);
		assert_int_equal(judge(f, "10.0.0.2:80"), cases[i].verdict);
	}
}

/* One that was made anew under its name may have other labels. */
static void a_pod_is_judged_by_its_own_policies_not_by_those_of_the_one_before(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload b = {.name = "b", .addrs = {"10.0.0.2"}, .incarnation = 7};
	const struct cv_sockaddr to = mesh_sockaddr("10.0.0.2:80");
	uint32_t of_src;
	struct state *s;

	mesh_put_workload(f->b, &b);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	f->dst.incarnation = 7;
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	f->dst.incarnation = 8;
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_NONE);
	s = mesh_build(f->b);
	assert_int_equal(direct_judge_plaintext(s, &f->dst, &to, &(struct cv_addr){0}, &of_src),
			 ZDS_VERDICT_NONE);
	state_unref(s);
	/* until that is told; or by who does not tell it, as istiod */
	b.incarnation = 8;
	mesh_put_workload(f->b, &b);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	b.incarnation = 0;
	mesh_put_workload(f->b, &b);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
}

static void ztunnels_own_ports_are_not_for_it(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge(f, "10.0.0.2:40001"), ZDS_VERDICT_NONE);
	assert_int_equal(judge(f, "10.0.0.2:15008"), ZDS_VERDICT_NONE);
}

static void a_waypoint_or_no_tunnel_protocol_is_not_for_it(void **state)
{
	struct fixture *f = *state;

	mesh_put_workload(f->b, &(struct mesh_workload){.name = "b",
							.addrs = {"10.0.0.2"},
							.waypoint = "demo/way.example"});
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ZTUNNELS);
	mesh_put_workload(
		f->b, &(struct mesh_workload){.name = "b", .addrs = {"10.0.0.2"}, .is_tcp = true});
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_NONE);
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "b", .addrs = {"10.0.0.2"}});
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
}

static uint64_t generation(struct fixture *f)
{
	struct state *s = mesh_build(f->b);
	uint64_t g = state_policy_generation(s);

	state_unref(s);
	return g;
}

static void what_a_verdict_follows_from_changes_the_generation(void **state)
{
	struct fixture *f = *state;
	uint64_t g = generation(f);

	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "a", .account = "alice", .addrs = {"10.0.0.1"}});
	assert_int_equal(generation(f), g);
	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "a", .account = "bob", .addrs = {"10.0.0.1"}});
	assert_int_not_equal(generation(f), g);
	g = generation(f);
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "b",
							.addrs = {"10.0.0.2"},
							.waypoint = "demo/way.example"});
	assert_int_not_equal(generation(f), g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with(policy_decides_by_identity_and_port),
		with(where_a_policy_looks_at_addresses_ztunnel_has_each_connection),
		with(plaintext_is_judged_for_anyone_or_not_at_all),
		with(plaintext_is_judged_by_its_source_where_a_policy_looks_at_it),
		with(what_is_open_is_judged_whatever_new_ones_are_made_by),
		with(what_a_pod_without_a_workload_has_open_is_judged_by_its_account),
		with(what_a_client_leaves_open_is_judged_as_both),
		with(what_is_not_known_is_not_cached),
		with(a_pod_made_anew_is_not_the_one_before_it),
		with(a_pod_is_judged_by_its_own_policies_not_by_those_of_the_one_before),
		with(ztunnels_own_ports_are_not_for_it),
		with(a_waypoint_or_no_tunnel_protocol_is_not_for_it),
		with(what_a_verdict_follows_from_changes_the_generation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

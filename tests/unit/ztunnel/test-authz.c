/* SPDX-License-Identifier: Apache-2.0 */
/* authz - facts of Istio's L4 rules, one by one, and random policies beside a second, plain
 * evaluator. */
#include "ztunnel/authz.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/ztunnel/mesh.h"
#include "xds/types.h"
#include "ztunnel/decode.h"

#define ALICE "spiffe://cluster.local/ns/demo/sa/alice"

typedef Istio__Security__StringMatch text_pb;
typedef Istio__Security__Match match_pb;
typedef Istio__Security__Authorization auth_pb;

/* A policy with one rule, one clause, one match, to be filled. */
struct simple {
	auth_pb auth;
	Istio__Security__Rule rule, *rules[1];
	Istio__Security__Clause clause, *clauses[1];
	match_pb match, *matches[1];
	text_pb text, *texts[1];
	uint32_t ports[1];
};

static void simple_init(struct simple *s, const char *name, Istio__Security__Action action)
{
	istio__security__authorization__init(&s->auth);
	istio__security__rule__init(&s->rule);
	istio__security__clause__init(&s->clause);
	istio__security__match__init(&s->match);
	istio__security__string_match__init(&s->text);
	s->rules[0] = &s->rule;
	s->clauses[0] = &s->clause;
	s->matches[0] = &s->match;
	s->texts[0] = &s->text;
	s->auth.name = (char *)name;
	s->auth.namespace_ = "demo";
	s->auth.scope = ISTIO__SECURITY__SCOPE__NAMESPACE;
	s->auth.action = action;
	s->auth.n_rules = 1;
	s->auth.rules = s->rules;
	s->rule.n_clauses = 1;
	s->rule.clauses = s->clauses;
	s->clause.n_matches = 1;
	s->clause.matches = s->matches;
}

static void simple_principal(struct simple *s, const char *principal)
{
	s->text.match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
	s->text.exact = (char *)principal;
	s->match.n_principals = 1;
	s->match.principals = s->texts;
}

static void simple_not_present(struct simple *s)
{
	static Google__Protobuf__Empty nothing = GOOGLE__PROTOBUF__EMPTY__INIT;

	s->text.match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE;
	s->text.presence = &nothing;
	s->match.n_not_principals = 1;
	s->match.not_principals = s->texts;
}

static int setup(void **state)
{
	struct state_builder *b = NULL;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(b, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	state_builder_free(*state);
	return 0;
}

static struct authz_verdict ask(struct state_builder *b, const char *identity, const char *dst)
{
	struct authz_conn conn = {.src_identity = identity,
				  .src = mesh_sockaddr("10.0.0.9:40000"),
				  .dst = mesh_sockaddr(dst)};
	struct state *s = mesh_build(b);
	struct authz_verdict v;

	authz_check(s, state_workload_by_uid(s, "Kubernetes//Pod/demo/a"), &conn, &v);
	state_unref(s);
	return v;
}

static void no_policy_allows(void **state)
{
	struct authz_verdict v = ask(*state, NULL, "10.0.0.1:80");

	assert_true(v.is_allowed);
	assert_string_equal(v.policy, "");
}

static void an_unknown_destination_is_denied(void **state)
{
	struct state *s = mesh_build(*state);
	struct authz_conn conn = {.src_identity = ALICE};
	struct authz_verdict v;

	authz_check(s, NULL, &conn, &v);
	assert_false(v.is_allowed);
	state_unref(s);
}

static void an_identity_that_is_none_is_denied(void **state)
{
	static const char *const malformed[] = {"", "alice",
						"http://cluster.local/ns/demo/sa/alice",
						"spiffe://cluster.local/ns/demo/sa/", "spiffe://"};

	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
		assert_false(ask(*state, malformed[i], "10.0.0.1:80").is_allowed);
}

static void an_allow_policy_without_rules_denies_all(void **state)
{
	struct authz_verdict v;
	struct simple p;

	simple_init(&p, "none", ISTIO__SECURITY__ACTION__ALLOW);
	p.auth.n_rules = 0;
	mesh_put_policy(*state, &p.auth);
	v = ask(*state, ALICE, "10.0.0.1:80");
	assert_false(v.is_allowed);
	assert_string_equal(v.reason, "allow policies exist, but none matched");
}

static void a_deny_policy_without_rules_denies_nothing(void **state)
{
	struct simple p;

	simple_init(&p, "none", ISTIO__SECURITY__ACTION__DENY);
	p.auth.n_rules = 0;
	mesh_put_policy(*state, &p.auth);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
}

static void deny_beats_allow_and_is_named(void **state)
{
	struct authz_verdict v;
	struct simple allow, deny;

	simple_init(&allow, "allow", ISTIO__SECURITY__ACTION__ALLOW);
	simple_principal(&allow, "cluster.local/ns/demo/sa/alice");
	mesh_put_policy(*state, &allow.auth);
	v = ask(*state, ALICE, "10.0.0.1:80");
	assert_true(v.is_allowed);
	assert_string_equal(v.policy, "demo/allow");
	simple_init(&deny, "deny", ISTIO__SECURITY__ACTION__DENY);
	simple_principal(&deny, "cluster.local/ns/demo/sa/alice");
	mesh_put_policy(*state, &deny.auth);
	v = ask(*state, ALICE, "10.0.0.1:80");
	assert_false(v.is_allowed);
	assert_string_equal(v.policy, "demo/deny");
	assert_string_equal(v.reason, "explicitly denied");
	assert_int_equal(state_builder_del_policy(*state, "demo/deny"), 0);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	assert_false(ask(*state, NULL, "10.0.0.1:80").is_allowed);
}

static struct authz_notes ask_notes(struct state_builder *b, const char *identity)
{
	static struct state *s;
	struct authz_conn conn = {.src_identity = identity,
				  .src = mesh_sockaddr("10.0.0.9:40000"),
				  .dst = mesh_sockaddr("10.0.0.1:80")};
	struct authz_notes n = {0};

	/* the notes borrow from the snapshot: it stays until the next call */
	state_unref(s);
	s = b ? mesh_build(b) : NULL;
	if (s)
		authz_notes(s, state_workload_by_uid(s, "Kubernetes//Pod/demo/a"), &conn, &n);
	return n;
}

static void policies_under_trial_say_what_they_would_do(void **state)
{
	struct simple allow, deny;
	struct authz_notes n = {0};

	assert_int_equal(ask_notes(*state, ALICE).dry_run, AUTHZ_DRY_RUN_NONE);
	simple_init(&allow, "allow", ISTIO__SECURITY__ACTION__ALLOW);
	simple_principal(&allow, "cluster.local/ns/demo/sa/alice");
	allow.auth.dry_run = true;
	mesh_put_policy(*state, &allow.auth);
	n = ask_notes(*state, ALICE);
	assert_int_equal(n.dry_run, AUTHZ_DRY_RUN_ALLOWED);
	assert_string_equal(n.dry_run_policy, "demo/allow");
	/* nobody else would get in */
	n = ask_notes(*state, NULL);
	assert_int_equal(n.dry_run, AUTHZ_DRY_RUN_DENIED);
	assert_null(n.dry_run_policy);
	assert_true(ask(*state, NULL, "10.0.0.1:80").is_allowed);
	simple_init(&deny, "deny", ISTIO__SECURITY__ACTION__DENY);
	simple_principal(&deny, "cluster.local/ns/demo/sa/alice");
	deny.auth.dry_run = true;
	mesh_put_policy(*state, &deny.auth);
	n = ask_notes(*state, ALICE);
	assert_int_equal(n.dry_run, AUTHZ_DRY_RUN_DENIED);
	assert_string_equal(n.dry_run_policy, "demo/deny");
	assert_null(n.audit_policy);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	(void)ask_notes(NULL, NULL);
}

static void audit_names_its_policy_and_changes_no_verdict(void **state)
{
	Istio__Workload__Extension e = ISTIO__WORKLOAD__EXTENSION__INIT, *list[] = {&e};
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	uint8_t packed[MESH_PACKED_SIZE];
	struct simple p;

	simple_init(&p, "audit", ISTIO__SECURITY__ACTION__DENY);
	simple_principal(&p, "cluster.local/ns/demo/sa/alice");
	any.value.len = istio__security__authorization__pack(&p.auth, packed);
	any.value.data = packed;
	e.name = XDS_AUDIT_EXTENSION;
	e.config = &any;
	p.auth.n_rules = 0;
	p.auth.n_extensions = 1;
	p.auth.extensions = list;
	mesh_put_policy(*state, &p.auth);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	assert_string_equal(ask_notes(*state, ALICE).audit_policy, "demo/audit");
	assert_null(ask_notes(*state, NULL).audit_policy);
	(void)ask_notes(NULL, NULL);
}

static void dry_run_changes_no_verdict(void **state)
{
	struct simple p;

	simple_init(&p, "dry", ISTIO__SECURITY__ACTION__DENY);
	p.rule.n_clauses = 0;
	p.auth.dry_run = true;
	mesh_put_policy(*state, &p.auth);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
}

/* STRICT arrives as "deny whoever has no principal". */
static void strict_denies_plaintext_only(void **state)
{
	struct authz_verdict v;
	struct simple p;

	simple_init(&p, "strict", ISTIO__SECURITY__ACTION__DENY);
	simple_not_present(&p);
	mesh_put_policy(*state, &p.auth);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	v = ask(*state, NULL, "10.0.0.1:80");
	assert_false(v.is_allowed);
	assert_string_equal(v.policy, "demo/strict");
}

static void strict_spares_an_excepted_port(void **state)
{
	Istio__Security__Clause clause = ISTIO__SECURITY__CLAUSE__INIT;
	match_pb match = ISTIO__SECURITY__MATCH__INIT, *matches[1] = {&match};
	Istio__Security__Clause *clauses[2];
	uint32_t ports[1] = {8080};
	struct simple p;

	simple_init(&p, "strict", ISTIO__SECURITY__ACTION__DENY);
	simple_not_present(&p);
	match.n_not_destination_ports = 1;
	match.not_destination_ports = ports;
	clause.n_matches = 1;
	clause.matches = matches;
	clauses[0] = &p.clause;
	clauses[1] = &clause;
	p.rule.n_clauses = 2;
	p.rule.clauses = clauses;
	mesh_put_policy(*state, &p.auth);
	assert_false(ask(*state, NULL, "10.0.0.1:80").is_allowed);
	assert_true(ask(*state, NULL, "10.0.0.1:8080").is_allowed);
}

static void an_empty_match_never_matches_and_an_empty_clause_always_does(void **state)
{
	struct simple p;

	simple_init(&p, "empty", ISTIO__SECURITY__ACTION__DENY);
	mesh_put_policy(*state, &p.auth);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	p.clause.n_matches = 0;
	mesh_put_policy(*state, &p.auth);
	assert_false(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
}

static void scopes_reach_as_far_as_they_say(void **state)
{
	struct simple p;

	simple_init(&p, "p", ISTIO__SECURITY__ACTION__DENY);
	p.rule.n_clauses = 0;
	p.auth.namespace_ = "other";
	mesh_put_policy(*state, &p.auth);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	p.auth.scope = ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
	mesh_put_policy(*state, &p.auth);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	mesh_put_workload(*state, &(struct mesh_workload){.name = "a",
							  .addrs = {"10.0.0.1"},
							  .policies = {"other/p"}});
	assert_false(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	mesh_put_workload(*state, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	p.auth.scope = ISTIO__SECURITY__SCOPE__GLOBAL;
	mesh_put_policy(*state, &p.auth);
	assert_false(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	assert_int_equal(state_builder_del_policy(*state, "other/p"), 0);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
}

static void a_policy_that_never_came_denies(void **state)
{
	struct authz_verdict v;

	mesh_put_workload(*state, &(struct mesh_workload){.name = "a",
							  .addrs = {"10.0.0.1"},
							  .policies = {"demo/late"}});
	v = ask(*state, ALICE, "10.0.0.1:80");
	assert_false(v.is_allowed);
	assert_string_equal(v.policy, "demo/late");
}

static void what_is_not_understood_denies_its_scope(void **state)
{
	struct policy *p = NULL;
	char err[256] = "";

	assert_int_equal(decode_policy("demo/broken", "\xff\xff\xff", 3, &p, err, sizeof(err)),
			 -EBADMSG);
	assert_true(err[0]);
	assert_int_equal(state_builder_put_policy(*state, p), 0);
	policy_unref(p);
	assert_false(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	assert_string_equal(ask(*state, ALICE, "10.0.0.1:80").policy, "demo/broken");
	assert_string_equal(ask(*state, ALICE, "10.0.0.1:80").reason, "policy not understood");
}

/* A policy whose head can be read and whose rules cannot. */
static void put_cut(struct state_builder *b, const char *key, Istio__Security__Authorization *m)
{
	uint8_t packed[MESH_PACKED_SIZE];
	size_t len = istio__security__authorization__pack(m, packed);
	struct policy *p = NULL;
	char err[256] = "";

	/* a rule that says it is 3 bytes long, none of which is a rule */
	memcpy(packed + len, "\x2a\x03\xff\xff\xff", 5);
	assert_int_equal(decode_policy(key, packed, len + 5, &p, err, sizeof(err)), -EBADMSG);
	assert_true(err[0]);
	assert_int_equal(state_builder_put_policy(b, p), 0);
	policy_unref(p);
}

static void what_cannot_be_unpacked_denies_as_far_as_it_would_reach(void **state)
{
	struct simple p;

	simple_init(&p, "p", ISTIO__SECURITY__ACTION__ALLOW);
	p.auth.namespace_ = "istio-system";
	p.auth.scope = ISTIO__SECURITY__SCOPE__NAMESPACE;
	put_cut(*state, "istio-system/p", &p.auth);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	p.auth.scope = ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
	put_cut(*state, "istio-system/p", &p.auth);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	p.auth.scope = ISTIO__SECURITY__SCOPE__GLOBAL;
	put_cut(*state, "istio-system/p", &p.auth);
	assert_false(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	assert_string_equal(ask(*state, ALICE, "10.0.0.1:80").policy, "istio-system/p");
	assert_int_equal(state_builder_del_policy(*state, "istio-system/p"), 0);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
}

/* A policy of a namespace other than the destination's may be the mesh's. */
static void what_does_not_say_its_scope_denies_the_whole_mesh(void **state)
{
	struct simple p;

	simple_init(&p, "p", ISTIO__SECURITY__ACTION__ALLOW);
	p.auth.namespace_ = "istio-system";
	p.auth.scope = (Istio__Security__Scope)9;
	put_cut(*state, "istio-system/p", &p.auth);
	assert_false(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	p.auth.scope = ISTIO__SECURITY__SCOPE__NAMESPACE;
	put_cut(*state, "istio-system/p", &p.auth);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	/* which of its two names is true is not known, and so not which namespace */
	put_cut(*state, "elsewhere/p", &p.auth);
	assert_false(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
}

/* Whether it is in an index or, of a workload of another node, looked at by itself. */
static void what_is_not_understood_denies_what_it_selects(void **state)
{
	static const char *const nodes[] = {"n1", "n2"};
	uint8_t packed[MESH_PACKED_SIZE];
	struct policy *p = NULL;
	char err[256] = "";
	struct simple s;

	simple_init(&s, "p", ISTIO__SECURITY__ACTION__ALLOW);
	s.auth.scope = ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR;
	s.match.n_destination_ports = 1;
	s.match.destination_ports = (uint32_t[]){70000};
	assert_int_equal(decode_policy("demo/p", packed,
				       istio__security__authorization__pack(&s.auth, packed), &p,
				       err, sizeof(err)),
			 -EINVAL);
	assert_int_equal(state_builder_put_policy(*state, p), 0);
	policy_unref(p);
	assert_true(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		mesh_put_workload(*state, &(struct mesh_workload){.name = "a",
								  .addrs = {"10.0.0.1"},
								  .node = nodes[i],
								  .policies = {"demo/p"}});
		assert_false(ask(*state, ALICE, "10.0.0.1:80").is_allowed);
		assert_string_equal(ask(*state, ALICE, "10.0.0.1:80").policy, "demo/p");
	}
}

static int decode_simple(struct simple *s)
{
	uint8_t packed[MESH_PACKED_SIZE];
	struct policy *p = NULL;
	char err[256] = "";
	int r;

	istio__security__authorization__pack(&s->auth, packed);
	r = decode_policy("demo/p", packed,
			  istio__security__authorization__get_packed_size(&s->auth), &p, err,
			  sizeof(err));
	assert_non_null(p);
	assert_int_equal(p->is_broken, r < 0);
	assert_int_equal(p->is_dry_run, s->auth.dry_run);
	assert_int_equal(p->action, r < 0 ? POLICY_DENY : POLICY_ALLOW);
	policy_unref(p);
	return r;
}

static void each_odd_field_breaks_the_policy(void **state)
{
	Istio__Security__Address cidr = ISTIO__SECURITY__ADDRESS__INIT, *cidrs[1] = {&cidr};
	uint32_t port[1] = {70000};
	struct simple s;

	simple_init(&s, "p", ISTIO__SECURITY__ACTION__ALLOW);
	assert_int_equal(decode_simple(&s), 0);
	s.auth.action = (Istio__Security__Action)2;
	assert_int_equal(decode_simple(&s), -EINVAL);
	s.auth.dry_run = true;
	assert_int_equal(decode_simple(&s), -EINVAL);
	simple_init(&s, "p", ISTIO__SECURITY__ACTION__ALLOW);
	s.auth.scope = (Istio__Security__Scope)9;
	assert_int_equal(decode_simple(&s), -EINVAL);
	simple_init(&s, "p", ISTIO__SECURITY__ACTION__ALLOW);
	s.match.n_principals = 1;
	s.match.principals = s.texts; /* a string match of no kind */
	assert_int_equal(decode_simple(&s), -EINVAL);
	simple_init(&s, "p", ISTIO__SECURITY__ACTION__ALLOW);
	s.match.n_destination_ports = 1;
	s.match.destination_ports = port;
	assert_int_equal(decode_simple(&s), -EINVAL);
	simple_init(&s, "p", ISTIO__SECURITY__ACTION__ALLOW);
	s.match.n_source_ips = 1;
	s.match.source_ips = cidrs;
	cidr.address = (ProtobufCBinaryData){4, (uint8_t *)"\x0a\0\0\0"};
	cidr.length = 33;
	assert_int_equal(decode_simple(&s), -EINVAL);
	cidr.length = 32;
	assert_int_equal(decode_simple(&s), 0);
	cidr.address.len = 3;
	assert_int_equal(decode_simple(&s), -EINVAL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(no_policy_allows),
		T(an_unknown_destination_is_denied),
		T(an_identity_that_is_none_is_denied),
		T(an_allow_policy_without_rules_denies_all),
		T(a_deny_policy_without_rules_denies_nothing),
		T(deny_beats_allow_and_is_named),
		T(dry_run_changes_no_verdict),
		T(policies_under_trial_say_what_they_would_do),
		T(audit_names_its_policy_and_changes_no_verdict),
		T(strict_denies_plaintext_only),
		T(strict_spares_an_excepted_port),
		T(an_empty_match_never_matches_and_an_empty_clause_always_does),
		T(scopes_reach_as_far_as_they_say),
		T(a_policy_that_never_came_denies),
		T(what_is_not_understood_denies_its_scope),
		T(what_cannot_be_unpacked_denies_as_far_as_it_would_reach),
		T(what_does_not_say_its_scope_denies_the_whole_mesh),
		T(what_is_not_understood_denies_what_it_selects),
		T(each_odd_field_breaks_the_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* authz - facts of Istio's L4 rules, one by one, and random policies beside a second, plain
 * evaluator. */
#include "ztunnel/authz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"
#include "tests/unit/ztunnel/mesh.h"
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

/* --- a second evaluator, straight from the message and from text --- */

struct fact {
	const char *principal; /* "" for plaintext */
	const char *namespace_;
	const char *account;
	uint32_t src; /* last byte of 10.0.0.x */
	uint32_t port;
};

static bool ref_text(const text_pb *m, const char *s)
{
	const char *at;

	switch (m->match_type_case) {
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT:
		return !strcmp(m->exact, s);
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX:
		return strstr(s, m->prefix) == s;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX:
		at = strlen(s) >= strlen(m->suffix) ? s + strlen(s) - strlen(m->suffix) : NULL;
		return at && !strcmp(at, m->suffix);
	default:
		return s[0] != '\0';
	}
}

static bool ref_texts(size_t n, text_pb **list, const char *s)
{
	bool hit = false;

	for (size_t i = 0; i < n; i++)
		hit |= ref_text(list[i], s);
	return hit;
}

static bool ref_ports(size_t n, const uint32_t *list, uint32_t port)
{
	bool hit = false;

	for (size_t i = 0; i < n; i++)
		hit |= list[i] == port;
	return hit;
}

static bool ref_ips(size_t n, Istio__Security__Address **list, uint32_t src)
{
	bool hit = false;

	for (size_t i = 0; i < n; i++) {
		uint32_t have = 0x0a000000 | src;
		const uint8_t *b = list[i]->address.data;
		uint32_t want =
			(uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
		unsigned int drop = 32 - list[i]->length;

		hit |= drop == 32 || (have >> drop) == (want >> drop);
	}
	return hit;
}

static bool ref_accounts(size_t n, Istio__Security__ServiceAccountMatch **list,
			 const struct fact *f)
{
	bool hit = false;

	for (size_t i = 0; i < n; i++)
		hit |= f->principal[0] && !strcmp(list[i]->namespace_, f->namespace_) &&
		       !strcmp(list[i]->serviceaccount, f->account);
	return hit;
}

static bool ref_match(const match_pb *m, const struct fact *f)
{
	bool any = m->n_namespaces || m->n_not_namespaces || m->n_principals ||
		   m->n_not_principals || m->n_source_ips || m->n_not_source_ips ||
		   m->n_destination_ports || m->n_not_destination_ports || m->n_service_accounts ||
		   m->n_not_service_accounts;
	bool is_ok = any;

	is_ok &= !m->n_namespaces || ref_texts(m->n_namespaces, m->namespaces, f->namespace_);
	is_ok &= !ref_texts(m->n_not_namespaces, m->not_namespaces, f->namespace_);
	is_ok &= !m->n_principals || ref_texts(m->n_principals, m->principals, f->principal);
	is_ok &= !ref_texts(m->n_not_principals, m->not_principals, f->principal);
	is_ok &= !m->n_source_ips || ref_ips(m->n_source_ips, m->source_ips, f->src);
	is_ok &= !ref_ips(m->n_not_source_ips, m->not_source_ips, f->src);
	is_ok &= !m->n_destination_ports ||
		 ref_ports(m->n_destination_ports, m->destination_ports, f->port);
	is_ok &= !ref_ports(m->n_not_destination_ports, m->not_destination_ports, f->port);
	is_ok &= !m->n_service_accounts ||
		 ref_accounts(m->n_service_accounts, m->service_accounts, f);
	is_ok &= !ref_accounts(m->n_not_service_accounts, m->not_service_accounts, f);
	return is_ok;
}

static bool ref_policy(const auth_pb *a, const struct fact *f)
{
	bool hit = false;

	for (size_t i = 0; i < a->n_rules; i++) {
		bool all = true;

		for (size_t k = 0; k < a->rules[i]->n_clauses; k++) {
			const Istio__Security__Clause *c = a->rules[i]->clauses[k];
			bool one = c->n_matches == 0;

			for (size_t n = 0; n < c->n_matches; n++)
				one |= ref_match(c->matches[n], f);
			all &= one;
		}
		hit |= all;
	}
	return hit;
}

/* --- random policies, from a small world so that rules do hit --- */

static const char *const texts[] = {"cluster.local/ns/demo/sa/alice",
				    "cluster.local/ns/demo",
				    "demo",
				    "sa/bob",
				    "other",
				    "de",
				    "mo",
				    ""};

/* Everything random comes from here and lives until the next policy. */
static struct {
	text_pb text[400], *text_p[400];
	Istio__Security__Address ip[200], *ip_p[200];
	Istio__Security__ServiceAccountMatch account[200], *account_p[200];
	uint32_t port[200];
	match_pb match[100], *match_p[100];
	Istio__Security__Clause clause[40], *clause_p[40];
	Istio__Security__Rule rule[8], *rule_p[8];
	size_t texts, ips, accounts, ports, matches, clauses, rules;
} pool;

static size_t rand_count(void)
{
	return rand() % 3 ? 0 : 1 + (size_t)rand() % 2;
}

static text_pb **rand_texts(size_t n)
{
	static Google__Protobuf__Empty nothing = GOOGLE__PROTOBUF__EMPTY__INIT;
	text_pb **first = &pool.text_p[pool.texts];

	for (size_t i = 0; i < n; i++) {
		text_pb *t = &pool.text[pool.texts];

		istio__security__string_match__init(t);
		t->match_type_case = (Istio__Security__StringMatch__MatchTypeCase)(1 + rand() % 4);
		if (t->match_type_case == ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE)
			t->presence = &nothing;
		else
			t->exact = (char *)texts[rand() % 8];
		pool.text_p[pool.texts++] = t;
	}
	return first;
}

static Istio__Security__Address **rand_ips(size_t n)
{
	static uint8_t addrs[4][4] = {{10, 0, 0, 0}, {10, 0, 0, 9}, {10, 0, 0, 1}, {11, 0, 0, 0}};
	Istio__Security__Address **first = &pool.ip_p[pool.ips];

	for (size_t i = 0; i < n; i++) {
		Istio__Security__Address *a = &pool.ip[pool.ips];

		istio__security__address__init(a);
		a->address = (ProtobufCBinaryData){4, addrs[rand() % 4]};
		a->length = (uint32_t)rand() % 33;
		pool.ip_p[pool.ips++] = a;
	}
	return first;
}

static Istio__Security__ServiceAccountMatch **rand_accounts(size_t n)
{
	Istio__Security__ServiceAccountMatch **first = &pool.account_p[pool.accounts];

	for (size_t i = 0; i < n; i++) {
		Istio__Security__ServiceAccountMatch *a = &pool.account[pool.accounts];

		istio__security__service_account_match__init(a);
		a->namespace_ = rand() % 2 ? "demo" : "other";
		a->serviceaccount = rand() % 2 ? "alice" : "bob";
		pool.account_p[pool.accounts++] = a;
	}
	return first;
}

static uint32_t *rand_ports(size_t n)
{
	uint32_t *first = &pool.port[pool.ports];

	for (size_t i = 0; i < n; i++)
		pool.port[pool.ports++] = 80 + (uint32_t)rand() % 3;
	return first;
}

static match_pb *rand_match(void)
{
	match_pb *m = &pool.match[pool.matches++];

	istio__security__match__init(m);
	m->namespaces = rand_texts(m->n_namespaces = rand_count());
	m->not_namespaces = rand_texts(m->n_not_namespaces = rand_count());
	m->principals = rand_texts(m->n_principals = rand_count());
	m->not_principals = rand_texts(m->n_not_principals = rand_count());
	m->source_ips = rand_ips(m->n_source_ips = rand_count());
	m->not_source_ips = rand_ips(m->n_not_source_ips = rand_count());
	m->destination_ports = rand_ports(m->n_destination_ports = rand_count());
	m->not_destination_ports = rand_ports(m->n_not_destination_ports = rand_count());
	m->service_accounts = rand_accounts(m->n_service_accounts = rand_count());
	m->not_service_accounts = rand_accounts(m->n_not_service_accounts = rand_count());
	return m;
}

static Istio__Security__Rule *rand_rule(void)
{
	Istio__Security__Rule *rule = &pool.rule[pool.rules++];

	istio__security__rule__init(rule);
	rule->n_clauses = (size_t)rand() % 3;
	rule->clauses = &pool.clause_p[pool.clauses];
	for (size_t i = 0; i < rule->n_clauses; i++) {
		Istio__Security__Clause *c = &pool.clause[pool.clauses];

		istio__security__clause__init(c);
		pool.clause_p[pool.clauses++] = c;
		c->n_matches = (size_t)rand() % 3;
		c->matches = &pool.match_p[pool.matches];
		for (size_t k = 0; k < c->n_matches; k++) {
			match_pb *m = rand_match();

			pool.match_p[pool.matches - 1] = m;
		}
	}
	return rule;
}

static void rand_policy(auth_pb *a)
{
	memset(&pool, 0, sizeof(pool));
	istio__security__authorization__init(a);
	a->name = "p";
	a->namespace_ = "demo";
	a->n_rules = (size_t)rand() % 4;
	a->rules = pool.rule_p;
	for (size_t i = 0; i < a->n_rules; i++) {
		Istio__Security__Rule *rule = rand_rule();

		pool.rule_p[pool.rules - 1] = rule;
	}
}

static void both_evaluators_agree_on_random_policies(void **state)
{
	static const struct fact facts[] = {
		{"", "", "", 9, 80},
		{"", "", "", 1, 81},
		{"cluster.local/ns/demo/sa/alice", "demo", "alice", 9, 80},
		{"cluster.local/ns/demo/sa/bob", "demo", "bob", 1, 82},
		{"cluster.local/ns/other/sa/alice", "other", "alice", 200, 81},
	};
	size_t hits = 0;
	auth_pb a;

	srand(11);
	for (int i = 0; i < 3000; i++) {
		struct policy *p;

		rand_policy(&a);
		p = mesh_policy(&a);
		for (size_t k = 0; k < ARRAY_SIZE(facts); k++) {
			const struct fact *f = &facts[k];
			struct authz_conn conn = {.dst = mesh_sockaddr("10.0.0.1:1")};
			char id[128];

			(void)snprintf(id, sizeof(id), "spiffe://%s", f->principal);
			conn.src_identity = f->principal[0] ? id : NULL;
			conn.src.addr = cv_addr_from_v4(htonl(0x0a000000 | f->src));
			conn.dst.port = htons((uint16_t)f->port);
			assert_int_equal(policy_is_match(p, &conn), ref_policy(&a, f));
			hits += ref_policy(&a, f);
		}
		policy_unref(p);
	}
	/* the world is small enough for the comparison to mean something */
	assert_true(hits > 1000 && hits < 14000);
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
		T(strict_denies_plaintext_only),
		T(strict_spares_an_excepted_port),
		T(an_empty_match_never_matches_and_an_empty_clause_always_does),
		T(scopes_reach_as_far_as_they_say),
		T(a_policy_that_never_came_denies),
		T(what_is_not_understood_denies_its_scope),
		T(each_odd_field_breaks_the_policy),
		T(both_evaluators_agree_on_random_policies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

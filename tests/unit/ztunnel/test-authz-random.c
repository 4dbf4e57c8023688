/* SPDX-License-Identifier: Apache-2.0 */
/* authz - random policies beside a second, plain evaluator that works straight on the message and
 * on text. */
#include "ztunnel/authz.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"
#include "tests/unit/ztunnel/mesh.h"

typedef Istio__Security__StringMatch text_pb;
typedef Istio__Security__Match match_pb;
typedef Istio__Security__Authorization auth_pb;

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

/* Random policies come from a small world, so that rules do hit. */
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

TEST(both_evaluators_agree_on_random_policies)
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_evaluators_agree_on_random_policies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

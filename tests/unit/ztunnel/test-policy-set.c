/* SPDX-License-Identifier: Apache-2.0 */
/* policy_set - rules of not-fields: how many are looked at for one decision, and that each decision
 * is right with many of them, also after some have gone. */
#include "ztunnel/policy_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "tests/unit/ztunnel/random_policy.h"
#include "ztunnel/policy_match.h"

#define MANY     3000
#define CONNS    400
#define POLICIES 400
#define TRIED    16 /* of MANY rules of which none matches */
#define ALICE    "cluster.local/ns/demo/sa/alice"

bool __real_policy_rule_is_match(const struct policy_rule *rule, const struct policy_subject *s);
bool __wrap_policy_rule_is_match(const struct policy_rule *rule, const struct policy_subject *s);

static size_t tried;

bool __wrap_policy_rule_is_match(const struct policy_rule *rule, const struct policy_subject *s)
{
	tried++;
	return __real_policy_rule_is_match(rule, s);
}

/* A rule with one match of one source, and what its fields point to. */
struct rule {
	Istio__Security__Authorization a;
	Istio__Security__Rule rule, *rules[1];
	Istio__Security__Clause clause, *clauses[1];
	Istio__Security__Match m, *matches[1];
	Istio__Security__StringMatch texts[2], *text_list[2];
	Istio__Security__ServiceAccountMatch account, *accounts[1];
	Istio__Security__Address addr, *addrs[1];
	uint8_t bytes[4];
	uint32_t ports[2];
	char name[32], text[64];
};

static void rule_init(struct rule *r, unsigned int number)
{
	memset(r, 0, sizeof(*r));
	istio__security__authorization__init(&r->a);
	istio__security__rule__init(&r->rule);
	istio__security__clause__init(&r->clause);
	istio__security__match__init(&r->m);
	istio__security__address__init(&r->addr);
	istio__security__service_account_match__init(&r->account);
	r->rules[0] = &r->rule;
	r->clauses[0] = &r->clause;
	r->matches[0] = &r->m;
	r->a.rules = r->rules;
	r->rule.clauses = r->clauses;
	r->clause.matches = r->matches;
	r->a.n_rules = r->rule.n_clauses = r->clause.n_matches = 1;
	(void)snprintf(r->name, sizeof(r->name), "p%u", number);
	(void)snprintf(r->text, sizeof(r->text), "cluster.local/ns/n%u/sa/s%u", number % 97,
		       number);
	r->a.name = r->name;
	r->a.namespace_ = "demo";
	r->a.action = ISTIO__SECURITY__ACTION__DENY;
}

/* Two principals: its own and @other. */
static Istio__Security__StringMatch **rule_texts(struct rule *r, const char *other,
						 Istio__Security__StringMatch__MatchTypeCase kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(r->texts); i++) {
		istio__security__string_match__init(&r->texts[i]);
		r->texts[i].match_type_case = kind;
		r->texts[i].exact = i ? (char *)other : r->text;
		r->text_list[i] = &r->texts[i];
	}
	return r->text_list;
}

static void not_port(struct rule *r, unsigned int number)
{
	r->ports[0] = 1000 + number;
	r->ports[1] = 80;
	r->m.n_not_destination_ports = 2;
	r->m.not_destination_ports = r->ports;
}

/* Something that the connection below has, each time another thing of it. */
static void not_our_connection(struct rule *r, unsigned int number)
{
	switch (number % 7) {
	case 0:
		r->m.n_not_principals = 2;
		r->m.not_principals =
			rule_texts(r, ALICE, ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT);
		break;
	case 1:
		r->m.n_not_principals = 2;
		r->m.not_principals = rule_texts(r, "/sa/alice",
						 ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX);
		break;
	case 2:
		r->m.n_not_namespaces = 2;
		r->m.not_namespaces =
			rule_texts(r, "de", ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX);
		break;
	case 3:
		not_port(r, number);
		break;
	case 4:
		r->account.namespace_ = "demo";
		r->account.serviceaccount = "alice";
		r->accounts[0] = &r->account;
		r->m.n_not_service_accounts = 1;
		r->m.not_service_accounts = r->accounts;
		break;
	default: /* its source, its destination */
		memcpy(r->bytes, (uint8_t[]){10, number % 7 == 6, 0, 0}, 4);
		r->addr.address = (ProtobufCBinaryData){4, r->bytes};
		r->addr.length = 16 + number % 7 % 2;
		r->addrs[0] = &r->addr;
		*(number % 7 == 5 ? &r->m.n_not_source_ips : &r->m.n_not_destination_ips) = 1;
		*(number % 7 == 5 ? &r->m.not_source_ips : &r->m.not_destination_ips) = r->addrs;
		break;
	}
}

static struct policy_set *set_with(struct policy_set *old, const struct policy *gone,
				   struct rule *r)
{
	_cleanup_(policy_unrefp) struct policy *p = r ? mesh_policy(&r->a) : NULL;
	struct policy_set *s = NULL;

	assert_int_equal(policy_set_change(old, gone, p, &s), 0);
	policy_set_unref(old);
	return s;
}

static const struct policy *find(const struct policy_set *s, const struct authz_conn *c)
{
	struct policy_subject subject;

	assert_int_equal(policy_subject_init(c, &subject), 0);
	tried = 0;
	return policy_set_find(s, POLICY_CLASS_DENY, &subject);
}

static struct authz_conn our_connection(void)
{
	return (struct authz_conn){.src_identity = "spiffe://" ALICE,
				   .src = mesh_sockaddr("10.0.0.9:40000"),
				   .dst = mesh_sockaddr("10.1.0.1:80")};
}

TEST(rules_of_not_fields_alone_are_not_tried_one_by_one)
{
	struct authz_conn ours = our_connection(), other = ours;
	struct policy_set *s = NULL;
	struct rule r;

	for (unsigned int i = 0; i < MANY; i++) {
		rule_init(&r, i);
		not_our_connection(&r, i);
		s = set_with(s, NULL, &r);
	}
	assert_null(find(s, &ours));
	assert_true(tried <= TRIED);
	/* the one that matches is found, wherever it is */
	rule_init(&r, MANY);
	r.m.n_not_principals = 1;
	r.m.not_principals = rule_texts(&r, "", ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT);
	s = set_with(s, NULL, &r);
	assert_string_equal(find(s, &ours)->name, r.name);
	assert_true(tried <= TRIED);
	other.src_identity = "spiffe://cluster.local/ns/other/sa/bob";
	assert_non_null(find(s, &other));
	assert_true(tried <= TRIED);
	policy_set_unref(s);
}

TEST(rules_that_share_a_field_are_told_apart_by_their_not_fields)
{
	struct authz_conn ours = our_connection();
	struct policy_set *s = NULL;
	struct rule r;

	for (unsigned int i = 0; i < MANY; i++) {
		Istio__Security__StringMatch t = ISTIO__SECURITY__STRING_MATCH__INIT,
					     *list[] = {&t};

		rule_init(&r, i);
		not_our_connection(&r, i);
		t.match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
		t.exact = ALICE;
		r.m.n_principals = 1;
		r.m.principals = list;
		s = set_with(s, NULL, &r);
	}
	assert_null(find(s, &ours));
	assert_true(tried <= TRIED);
	policy_set_unref(s);
}

/* In no prefix of IPv6, so what must not be from there may be. */
TEST(an_ipv4_address_is_not_excluded_by_a_prefix_of_ipv6)
{
	struct authz_conn ours = our_connection();
	struct policy_set *s = NULL;
	uint8_t any[16] = {0};
	struct rule r;

	for (unsigned int i = 0; i < 3; i++) {
		rule_init(&r, i);
		r.addr.address = (ProtobufCBinaryData){sizeof(any), any};
		r.addrs[0] = &r.addr;
		r.m.n_not_source_ips = 1;
		r.m.not_source_ips = r.addrs;
		s = set_with(s, NULL, &r);
	}
	assert_non_null(find(s, &ours));
	policy_set_unref(s);
}

/* A rule against nearly all of what some of a connection's properties can be. */
struct wide {
	struct rule r;
	Istio__Security__StringMatch texts[3], *text_list[3];
	Istio__Security__Address addrs[2], *addr_list[2];
	uint32_t ports[4];
};

static bool nearly_always(void)
{
	return random_next(10) > 0;
}

static void against_namespaces(struct wide *w)
{
	static const char *const texts[] = {"demo", "other", "de"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		Istio__Security__StringMatch *t = &w->texts[w->r.m.n_not_namespaces];

		istio__security__string_match__init(t);
		t->match_type_case = random_next(2)
					     ? ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT
					     : ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX;
		t->exact = (char *)texts[i];
		w->text_list[w->r.m.n_not_namespaces] = t;
		w->r.m.n_not_namespaces += nearly_always();
	}
	w->r.m.not_namespaces = w->text_list;
}

static void against_ports(struct wide *w)
{
	for (uint32_t port = 80; port < 84; port++) {
		w->ports[w->r.m.n_not_destination_ports] = port;
		w->r.m.n_not_destination_ports += nearly_always();
	}
	w->r.m.not_destination_ports = w->ports;
}

static void against_sources(struct wide *w)
{
	static uint8_t v4[4] = {10}, v6[16] = {0xfd};

	for (size_t i = 0; i < 2; i++) {
		Istio__Security__Address *a = &w->addrs[w->r.m.n_not_source_ips];

		istio__security__address__init(a);
		a->address = (ProtobufCBinaryData){i ? sizeof(v6) : sizeof(v4), i ? v6 : v4};
		a->length = random_next(2) ? 8 : 16;
		w->addr_list[w->r.m.n_not_source_ips] = a;
		w->r.m.n_not_source_ips += nearly_always();
	}
	w->r.m.not_source_ips = w->addr_list;
}

static struct policy *wide_policy(unsigned int number)
{
	struct wide w;

	memset(&w, 0, sizeof(w));
	rule_init(&w.r, number);
	against_namespaces(&w);
	against_ports(&w);
	if (random_next(4) == 0)
		against_sources(&w);
	/* what no connection of random_conn() has, so that there is a field */
	w.r.m.n_not_principals = 2;
	w.r.m.not_principals =
		rule_texts(&w.r, "nobody", ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT);
	if (random_next(8)) {
		w.r.text_list[1]->match_type_case =
			ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX;
		w.r.text_list[1]->exact = random_next(2) ? "" : "cluster.local/ns/";
	}
	return mesh_policy(&w.r.a);
}

static bool is_any_hit(struct policy *const *all, const struct authz_conn *c)
{
	for (size_t i = 0; i < POLICIES; i++)
		if (all[i] && policy_is_match(all[i], c))
			return true;
	return false;
}

/* Return: how many connections some rule matched. */
static size_t compare(const struct policy_set *s, struct policy *const *all)
{
	size_t hits = 0;

	for (int k = 0; k < CONNS; k++) {
		const struct policy *found;
		struct authz_conn conn;
		struct ref_conn c;
		bool is_hit;
		char id[128];

		random_conn(&c, &conn, id);
		found = s ? find(s, &conn) : NULL;
		is_hit = is_any_hit(all, &conn);
		assert_int_equal(found != NULL, is_hit);
		assert_true(!found || policy_is_match(found, &conn));
		hits += is_hit;
	}
	return hits;
}

TEST(each_decision_is_that_of_all_rules_one_by_one_while_they_come_and_go)
{
	static struct policy *all[POLICIES];
	struct policy_set *s = NULL;
	size_t hits = 0, rounds = 0;

	for (unsigned int step = 0; step < 20 * POLICIES; step++) {
		size_t at = random_next(POLICIES);
		struct policy *p = random_next(2) ? wide_policy((unsigned int)at) : NULL;
		struct policy_set *next = NULL;

		assert_int_equal(policy_set_change(s, all[at], p, &next), 0);
		policy_set_unref(s);
		policy_unref(all[at]);
		s = next;
		all[at] = p;
		if (step % 50 > 0)
			continue;
		hits += compare(s, all);
		rounds++;
	}
	/* the rules are such that the comparison means something */
	print_message("%zu of %zu matched\n", hits, rounds * CONNS);
	assert_true(hits > rounds * CONNS / 10 && hits < rounds * CONNS * 9 / 10);
	policy_set_unref(s);
	for (size_t i = 0; i < POLICIES; i++)
		policy_unref(all[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_of_not_fields_alone_are_not_tried_one_by_one),
		cmocka_unit_test(rules_that_share_a_field_are_told_apart_by_their_not_fields),
		cmocka_unit_test(an_ipv4_address_is_not_excluded_by_a_prefix_of_ipv6),
		cmocka_unit_test(
			each_decision_is_that_of_all_rules_one_by_one_while_they_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/authz.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "tls/spiffe.h"
#include "ztunnel/policy.h"
#include "ztunnel/state_internal.h"

#define SPIFFE_SCHEME "spiffe://"

/* What rules look at, taken apart once per check. */
struct subject {
	const char *principal; /* identity without the scheme; "" for plaintext */
	struct spiffe_id id;   /* all "" for plaintext */
	const struct cv_addr *src;
	const struct cv_addr *dst;
	uint16_t dst_port;
};

static int subject_init(const struct authz_conn *conn, struct subject *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->src = &conn->src.addr;
	ret->dst = &conn->dst.addr;
	ret->dst_port = ntohs(conn->dst.port);
	ret->principal = "";
	if (!conn->src_identity)
		return 0;
	if (!str_has_prefix(conn->src_identity, SPIFFE_SCHEME))
		return -1;
	ret->principal = conn->src_identity + strlen(SPIFFE_SCHEME);
	return spiffe_parse(conn->src_identity, &ret->id);
}

static bool text_is_match(const struct text_match *m, const char *s)
{
	size_t len = strlen(s);

	switch (m->kind) {
	case TEXT_EXACT:
		return len == m->len && memcmp(s, m->text, len) == 0;
	case TEXT_PREFIX:
		return len >= m->len && memcmp(s, m->text, m->len) == 0;
	case TEXT_SUFFIX:
		return len >= m->len && memcmp(s + len - m->len, m->text, m->len) == 0;
	case TEXT_PRESENT:
		return len > 0;
	}
	return false;
}

static bool texts_hit(const struct text_matches *l, const char *s)
{
	for (size_t i = 0; i < l->count; i++)
		if (text_is_match(&l->items[i], s))
			return true;
	return false;
}

static bool cidrs_hit(const struct cidr_matches *l, const struct cv_addr *a)
{
	for (size_t i = 0; i < l->count; i++)
		if (cidr_contains(&l->items[i], a))
			return true;
	return false;
}

static bool ports_hit(const struct port_matches *l, uint16_t port)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->items[i] == port)
			return true;
	return false;
}

static bool accounts_hit(const struct account_matches *l, const struct spiffe_id *id)
{
	if (!id->service_account[0])
		return false;
	for (size_t i = 0; i < l->count; i++)
		if (streq(l->items[i].namespace_, id->namespace_) &&
		    streq(l->items[i].service_account, id->service_account))
			return true;
	return false;
}

/* One field and its not-form. */
#define FIELD_PASSES(positive, negative, hit, value)                                               \
	(((positive).count == 0 || hit(&(positive), value)) &&                                     \
	 ((negative).count == 0 || !hit(&(negative), value)))

static bool match_is_match(const struct policy_match *m, const struct subject *s)
{
	return !m->is_empty &&
	       FIELD_PASSES(m->namespaces, m->not_namespaces, texts_hit, s->id.namespace_) &&
	       FIELD_PASSES(m->principals, m->not_principals, texts_hit, s->principal) &&
	       FIELD_PASSES(m->src_ips, m->not_src_ips, cidrs_hit, s->src) &&
	       FIELD_PASSES(m->dst_ips, m->not_dst_ips, cidrs_hit, s->dst) &&
	       FIELD_PASSES(m->dst_ports, m->not_dst_ports, ports_hit, s->dst_port) &&
	       FIELD_PASSES(m->accounts, m->not_accounts, accounts_hit, &s->id);
}

static bool clause_is_match(const struct policy_clause *c, const struct subject *s)
{
	for (size_t i = 0; i < c->count; i++)
		if (match_is_match(&c->matches[i], s))
			return true;
	return c->count == 0;
}

static bool rule_is_match(const struct policy_rule *rule, const struct subject *s)
{
	for (size_t i = 0; i < rule->count; i++)
		if (!clause_is_match(&rule->clauses[i], s))
			return false;
	return true;
}

static bool policy_hits(const struct policy *p, const struct subject *s)
{
	if (p->is_broken)
		return true;
	for (size_t i = 0; i < p->count; i++)
		if (rule_is_match(&p->rules[i], s))
			return true;
	return false;
}

bool policy_is_match(const struct policy *p, const struct authz_conn *conn)
{
	struct subject s;

	return subject_init(conn, &s) == 0 && policy_hits(p, &s);
}

/* The policies of one destination, in the order that they are looked at: global, namespace, by
 * name. */
struct policy_iter {
	const struct state *state;
	const struct workload *dst;
	const struct reflist *shared[2];
	size_t list;
	size_t at;
	const char *missing; /* a name that no policy goes by */
};

static const struct policy *policy_next(struct policy_iter *it)
{
	for (; it->list < ARRAY_SIZE(it->shared); it->list++, it->at = 0)
		if (it->shared[it->list] && it->at < it->shared[it->list]->count)
			return it->shared[it->list]->items[it->at++];
	while (it->at < it->dst->policies_count) {
		const char *name = it->dst->policies[it->at++];
		const struct policy *p = hamt_get_str(it->state->t.policies, name);

		if (p)
			return p;
		it->missing = name;
	}
	return NULL;
}

static void policies_begin(const struct state *s, const struct workload *dst,
			   struct policy_iter *it)
{
	*it = (struct policy_iter){
		.state = s,
		.dst = dst,
		.shared = {s->t.global_policies, hamt_get_str(s->t.ns_policies, dst->namespace_)},
	};
}

static const struct policy *policies_find(struct policy_iter *it, enum policy_action action,
					  const struct subject *subject, bool *ret_has_any)
{
	const struct policy *p;

	while ((p = policy_next(it))) {
		if (p->action != action || p->is_dry_run)
			continue;
		*ret_has_any = true;
		if (policy_hits(p, subject))
			return p;
	}
	return NULL;
}

static void verdict_set(struct authz_verdict *v, bool is_allowed, const char *policy,
			const char *reason)
{
	v->is_allowed = is_allowed;
	v->reason = reason;
	(void)str_copy(v->policy, sizeof(v->policy), policy);
}

void authz_check(const struct state *s, const struct workload *dst, const struct authz_conn *conn,
		 struct authz_verdict *ret)
{
	struct policy_iter it;
	struct subject subject;
	const struct policy *p;
	bool has_deny = false;
	bool has_allow = false;

	if (!dst) {
		verdict_set(ret, false, "", "destination is not a known workload");
		return;
	}
	if (subject_init(conn, &subject) < 0) {
		verdict_set(ret, false, "", "source identity is not a SPIFFE ID");
		return;
	}
	policies_begin(s, dst, &it);
	p = policies_find(&it, POLICY_DENY, &subject, &has_deny);
	if (p) {
		verdict_set(ret, false, p->key,
			    p->is_broken ? "policy not understood" : "explicitly denied");
		return;
	}
	if (it.missing) {
		verdict_set(ret, false, it.missing, "policy not received yet");
		return;
	}
	policies_begin(s, dst, &it);
	p = policies_find(&it, POLICY_ALLOW, &subject, &has_allow);
	if (p)
		verdict_set(ret, true, p->key, "allow policy matched");
	else if (has_allow)
		verdict_set(ret, false, "", "allow policies exist, but none matched");
	else
		verdict_set(ret, true, "", "no allow policies");
}

static bool match_has_addr(const struct policy_match *m)
{
	return m->src_ips.count || m->not_src_ips.count || m->dst_ips.count || m->not_dst_ips.count;
}

static bool rule_has_addr(const struct policy_rule *rule)
{
	for (size_t i = 0; i < rule->count; i++)
		for (size_t j = 0; j < rule->clauses[i].count; j++)
			if (match_has_addr(&rule->clauses[i].matches[j]))
				return true;
	return false;
}

bool authz_is_by_identity(const struct state *s, const struct workload *dst)
{
	struct policy_iter it;
	const struct policy *p;

	policies_begin(s, dst, &it);
	while ((p = policy_next(&it)))
		for (size_t i = 0; i < p->count; i++)
			if (rule_has_addr(&p->rules[i]))
				return false;
	return it.missing == NULL;
}

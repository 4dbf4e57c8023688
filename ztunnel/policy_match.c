/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/policy_match.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "ztunnel/authz.h"

#define SPIFFE_SCHEME "spiffe://"

int policy_subject_init(const struct authz_conn *conn, struct policy_subject *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->src = &conn->src.addr;
	ret->dst = &conn->dst.addr;
	ret->dst_port = ntohs(conn->dst.port);
	ret->principal = "";
	if (!conn->src_identity)
		return 0;
	if (!str_has_prefix(conn->src_identity, SPIFFE_SCHEME))
		return -EINVAL;
	ret->principal = conn->src_identity + strlen(SPIFFE_SCHEME);
	return spiffe_parse(conn->src_identity, &ret->id) < 0 ? -EINVAL : 0;
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

static bool match_is_match(const struct policy_match *m, const struct policy_subject *s)
{
	return !m->is_empty &&
	       FIELD_PASSES(m->namespaces, m->not_namespaces, texts_hit, s->id.namespace_) &&
	       FIELD_PASSES(m->principals, m->not_principals, texts_hit, s->principal) &&
	       FIELD_PASSES(m->src_ips, m->not_src_ips, cidrs_hit, s->src) &&
	       FIELD_PASSES(m->dst_ips, m->not_dst_ips, cidrs_hit, s->dst) &&
	       FIELD_PASSES(m->dst_ports, m->not_dst_ports, ports_hit, s->dst_port) &&
	       FIELD_PASSES(m->accounts, m->not_accounts, accounts_hit, &s->id);
}

static bool clause_is_match(const struct policy_clause *c, const struct policy_subject *s)
{
	for (size_t i = 0; i < c->count; i++)
		if (match_is_match(&c->matches[i], s))
			return true;
	return c->count == 0;
}

bool policy_rule_is_match(const struct policy_rule *rule, const struct policy_subject *s)
{
	for (size_t i = 0; i < rule->count; i++)
		if (!clause_is_match(&rule->clauses[i], s))
			return false;
	return true;
}

bool policy_is_hit(const struct policy *p, const struct policy_subject *s)
{
	if (p->is_broken)
		return true;
	for (size_t i = 0; i < p->count; i++)
		if (policy_rule_is_match(&p->rules[i], s))
			return true;
	return false;
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

bool policy_is_by_identity(const struct policy *p)
{
	enum policy_class class = policy_class_of(p);

	if (class != POLICY_CLASS_DENY && class != POLICY_CLASS_ALLOW)
		return false;
	for (size_t i = 0; i < p->count; i++)
		if (rule_has_addr(&p->rules[i]))
			return false;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ztunnel/reference.h"

#include <stdio.h>
#include <string.h>

typedef Istio__Security__StringMatch text_pb;
typedef Istio__Security__Match match_pb;

static bool ref_text(const text_pb *m, const char *s)
{
	size_t n = strlen(s);

	switch (m->match_type_case) {
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT:
		return !strcmp(m->exact, s);
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX:
		return strstr(s, m->prefix) == s;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX:
		return n >= strlen(m->suffix) && !strcmp(s + n - strlen(m->suffix), m->suffix);
	default:
		return n > 0;
	}
}

static bool ref_texts(size_t n, text_pb **list, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (ref_text(list[i], s))
			return true;
	return false;
}

static bool ref_cidrs(size_t n, Istio__Security__Address **list, const struct ref_addr *a)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t bit = 0;

		if (list[i]->address.len != a->len)
			continue;
		while (bit < list[i]->length &&
		       !((a->bytes[bit / 8] ^ list[i]->address.data[bit / 8]) >> (7 - bit % 8) & 1))
			bit++;
		if (bit == list[i]->length)
			return true;
	}
	return false;
}

static bool ref_ports(size_t n, const uint32_t *list, uint32_t port)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == port)
			return true;
	return false;
}

static bool ref_accounts(size_t n, Istio__Security__ServiceAccountMatch **list,
			 const struct ref_conn *c)
{
	for (size_t i = 0; i < n; i++)
		if (c->principal[0] && !strcmp(list[i]->namespace_, c->namespace_) &&
		    !strcmp(list[i]->serviceaccount, c->account))
			return true;
	return false;
}

/* Field = (positive list empty or any hits) and (negative list empty or none hits). */
#define FIELD(yes, no, hit, value)                                                                 \
	((!m->n_##yes || hit(m->n_##yes, m->yes, value)) && !hit(m->n_##no, m->no, value))

static bool ref_match(const match_pb *m, const struct ref_conn *c)
{
	/* a match with no field set never matches */
	if (!(m->n_namespaces + m->n_not_namespaces + m->n_principals + m->n_not_principals +
	      m->n_source_ips + m->n_not_source_ips + m->n_destination_ips +
	      m->n_not_destination_ips + m->n_destination_ports + m->n_not_destination_ports +
	      m->n_service_accounts + m->n_not_service_accounts))
		return false;
	return FIELD(namespaces, not_namespaces, ref_texts, c->namespace_) &&
	       FIELD(principals, not_principals, ref_texts, c->principal) &&
	       FIELD(source_ips, not_source_ips, ref_cidrs, &c->src) &&
	       FIELD(destination_ips, not_destination_ips, ref_cidrs, &c->dst) &&
	       FIELD(destination_ports, not_destination_ports, ref_ports, c->port) &&
	       FIELD(service_accounts, not_service_accounts, ref_accounts, c);
}

/* Rules OR, clauses of a rule AND, matches of a clause OR; a clause without matches is true. */
static bool ref_policy(const Istio__Security__Authorization *p, const struct ref_conn *c)
{
	for (size_t i = 0; i < p->n_rules; i++) {
		bool all = true;

		for (size_t k = 0; k < p->rules[i]->n_clauses; k++) {
			const Istio__Security__Clause *clause = p->rules[i]->clauses[k];
			bool any = clause->n_matches == 0;

			for (size_t n = 0; n < clause->n_matches; n++)
				any = any || ref_match(clause->matches[n], c);
			all = all && any;
		}
		if (all)
			return true;
	}
	return false;
}

static bool ref_applies(const Istio__Security__Authorization *p, const struct ref_conn *c)
{
	char key[128];

	if (p->scope == ISTIO__SECURITY__SCOPE__GLOBAL)
		return true;
	if (p->scope == ISTIO__SECURITY__SCOPE__NAMESPACE)
		return !strcmp(p->namespace_, c->dst_namespace);
	(void)snprintf(key, sizeof(key), "%s/%s", p->namespace_, p->name);
	for (size_t i = 0; c->dst_policies[i]; i++)
		if (!strcmp(c->dst_policies[i], key))
			return true;
	return false;
}

/* Any DENY -> deny; no ALLOW policies -> allow; any ALLOW -> allow; else deny. */
struct ref_answer ref_check(const struct ref_policy *set, size_t n, const struct ref_conn *c)
{
	/* [dry run][ALLOW, DENY] */
	bool has[2][2] = {0}, hit[2][2] = {0};
	struct ref_answer a = {0};

	for (size_t i = 0; i < n; i++) {
		const Istio__Security__Authorization *p = set[i].m;
		bool is_deny = p->action == ISTIO__SECURITY__ACTION__DENY;

		if (!ref_applies(p, c))
			continue;
		if (set[i].is_audit) {
			a.is_audited |= ref_policy(p, c);
			continue;
		}
		has[p->dry_run != 0][is_deny] = true;
		hit[p->dry_run != 0][is_deny] |= ref_policy(p, c);
	}
	a.is_allowed = !hit[0][1] && (!has[0][0] || hit[0][0]);
	a.is_dry_denied = hit[1][1] || (has[1][0] && !hit[1][0] && !hit[0][0]);
	return a;
}

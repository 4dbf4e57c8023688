/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/cidr.h"
#include "userspace/lib/xds/authorization.pb-c.h"
#include "xds/types.h"
#include "xds/unpack.h"
#include "ztunnel/arena.h"
#include "ztunnel/decode.h"
#include "ztunnel/policy.h"

#define UNPACK_BLOCK 1000

static int text_match_decode(struct arena *a, const Istio__Security__StringMatch *m,
			     struct text_match *ret)
{
	const char *s = "";

	switch (m->match_type_case) {
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT:
		ret->kind = TEXT_EXACT;
		s = m->exact;
		break;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX:
		ret->kind = TEXT_PREFIX;
		s = m->prefix;
		break;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX:
		ret->kind = TEXT_SUFFIX;
		s = m->suffix;
		break;
	case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE:
		ret->kind = TEXT_PRESENT;
		break;
	default:
		return -EINVAL;
	}
	ret->text = arena_str(a, s);
	if (!ret->text)
		return -ENOMEM;
	ret->len = strlen(ret->text);
	return 0;
}

static int texts_decode(struct arena *a, size_t n, Istio__Security__StringMatch *const *from,
			struct text_matches *ret)
{
	struct text_match *items = arena_alloc(a, n, sizeof(*items));
	int r;

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		r = text_match_decode(a, from[i], &items[i]);
		if (r < 0)
			return r;
	}
	*ret = (struct text_matches){items, n};
	return 0;
}

static int cidrs_decode(struct arena *a, size_t n, Istio__Security__Address *const *from,
			struct cidr_matches *ret)
{
	struct cidr *items = arena_alloc(a, n, sizeof(*items));

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		size_t len = from[i]->address.len;

		if (cv_addr_from_bytes(from[i]->address.data, len, &items[i].addr) < 0 ||
		    from[i]->length > 8 * len)
			return -EINVAL;
		items[i].len = (uint8_t)(from[i]->length + (len == 4 ? CIDR_V4 : 0));
	}
	*ret = (struct cidr_matches){items, n};
	return 0;
}

static int ports_decode(struct arena *a, size_t n, const uint32_t *from, struct port_matches *ret)
{
	uint16_t *items = arena_alloc(a, n, sizeof(*items));

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (from[i] > UINT16_MAX)
			return -EINVAL;
		items[i] = (uint16_t)from[i];
	}
	*ret = (struct port_matches){items, n};
	return 0;
}

static int accounts_decode(struct arena *a, size_t n,
			   Istio__Security__ServiceAccountMatch *const *from,
			   struct account_matches *ret)
{
	struct account_match *items = arena_alloc(a, n, sizeof(*items));

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		items[i].namespace_ = arena_str(a, from[i]->namespace_);
		items[i].service_account = arena_str(a, from[i]->serviceaccount);
		if (!items[i].namespace_ || !items[i].service_account)
			return -ENOMEM;
	}
	*ret = (struct account_matches){items, n};
	return 0;
}

static bool match_is_empty(const struct policy_match *m)
{
	return m->namespaces.count + m->not_namespaces.count + m->principals.count +
		       m->not_principals.count + m->src_ips.count + m->not_src_ips.count +
		       m->dst_ips.count + m->not_dst_ips.count + m->dst_ports.count +
		       m->not_dst_ports.count + m->accounts.count + m->not_accounts.count ==
	       0;
}

/* Run a step only while all before it went well. */
#define STEP(call)                                                                                 \
	do {                                                                                       \
		if (r == 0)                                                                        \
			r = (call);                                                                \
	} while (0)

static int match_decode(struct arena *a, const Istio__Security__Match *m, struct policy_match *ret)
{
	/* a restriction that we do not know would be left out: that is not what was written */
	int r = m->base.n_unknown_fields || m->n_extensions ? -EINVAL : 0;

	STEP(texts_decode(a, m->n_namespaces, m->namespaces, &ret->namespaces));
	STEP(texts_decode(a, m->n_not_namespaces, m->not_namespaces, &ret->not_namespaces));
	STEP(texts_decode(a, m->n_principals, m->principals, &ret->principals));
	STEP(texts_decode(a, m->n_not_principals, m->not_principals, &ret->not_principals));
	STEP(cidrs_decode(a, m->n_source_ips, m->source_ips, &ret->src_ips));
	STEP(cidrs_decode(a, m->n_not_source_ips, m->not_source_ips, &ret->not_src_ips));
	STEP(cidrs_decode(a, m->n_destination_ips, m->destination_ips, &ret->dst_ips));
	STEP(cidrs_decode(a, m->n_not_destination_ips, m->not_destination_ips, &ret->not_dst_ips));
	STEP(ports_decode(a, m->n_destination_ports, m->destination_ports, &ret->dst_ports));
	STEP(ports_decode(a, m->n_not_destination_ports, m->not_destination_ports,
			  &ret->not_dst_ports));
	STEP(accounts_decode(a, m->n_service_accounts, m->service_accounts, &ret->accounts));
	STEP(accounts_decode(a, m->n_not_service_accounts, m->not_service_accounts,
			     &ret->not_accounts));
	ret->is_empty = match_is_empty(ret);
	return r;
}

static int clause_decode(struct arena *a, const Istio__Security__Clause *m,
			 struct policy_clause *ret)
{
	struct policy_match *matches = arena_alloc(a, m->n_matches, sizeof(*matches));
	int r = m->base.n_unknown_fields ? -EINVAL : 0;

	if (!matches)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_matches; i++)
		STEP(match_decode(a, m->matches[i], &matches[i]));
	*ret = (struct policy_clause){matches, m->n_matches};
	return r;
}

static int rule_decode(struct arena *a, const Istio__Security__Rule *m, struct policy_rule *ret)
{
	struct policy_clause *clauses = arena_alloc(a, m->n_clauses, sizeof(*clauses));
	int r = m->base.n_unknown_fields ? -EINVAL : 0;

	if (!clauses)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_clauses; i++)
		STEP(clause_decode(a, m->clauses[i], &clauses[i]));
	*ret = (struct policy_rule){clauses, m->n_clauses};
	return r;
}

static int scope_decode(Istio__Security__Scope scope, struct policy *p)
{
	switch (scope) {
	case ISTIO__SECURITY__SCOPE__GLOBAL:
		p->scope = POLICY_GLOBAL;
		return 0;
	case ISTIO__SECURITY__SCOPE__NAMESPACE:
		p->scope = POLICY_NAMESPACE;
		return 0;
	case ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR:
		p->scope = POLICY_WORKLOAD;
		return 0;
	default:
		return -EINVAL;
	}
}

static int rules_decode(struct policy *p, size_t n, Istio__Security__Rule *const *from)
{
	struct policy_rule *rules = arena_alloc(p->arena, n, sizeof(*rules));
	int r = 0;

	if (!rules)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		STEP(rule_decode(p->arena, from[i], &rules[i]));
	p->rules = rules;
	p->count = n;
	return r;
}

static const Istio__Workload__Extension *audit_of(const Istio__Security__Authorization *m)
{
	for (size_t i = 0; i < m->n_extensions; i++)
		if (streq(m->extensions[i]->name, XDS_AUDIT_EXTENSION))
			return m->extensions[i];
	return NULL;
}

static int audit_decode(struct policy *p, const Istio__Workload__Extension *e,
			struct unpack *unpack)
{
	const Istio__Security__Authorization *m;

	if (!e->config)
		return -EINVAL;
	m = istio__security__authorization__unpack(&unpack->memory, e->config->value.len,
						   e->config->value.data);
	if (!m)
		return unpack->is_short ? -ENOMEM : -EINVAL;
	return rules_decode(p, m->n_rules, m->rules);
}

/* Fill @p, which starts as one that denies. @what: the field that was not understood. */
static int policy_decode(struct policy *p, const Istio__Security__Authorization *m,
			 struct unpack *unpack, const char **what)
{
	const Istio__Workload__Extension *audit = audit_of(m);
	int r;

	p->is_dry_run = m->dry_run; /* whatever else it says: it is in force nowhere */
	*what = "scope";
	r = scope_decode(m->scope, p);
	if (r < 0)
		return r;
	*what = "action";
	if (m->action != ISTIO__SECURITY__ACTION__ALLOW &&
	    m->action != ISTIO__SECURITY__ACTION__DENY)
		return -EINVAL;
	*what = "rules";
	r = audit ? audit_decode(p, audit, unpack) : rules_decode(p, m->n_rules, m->rules);
	if (r < 0)
		return r;
	if (audit)
		p->action = POLICY_AUDIT;
	else if (m->action == ISTIO__SECURITY__ACTION__ALLOW)
		p->action = POLICY_ALLOW;
	p->is_broken = false;
	return 0;
}

/* Of a policy whose rules cannot be taken apart: what it covers. Where that cannot be read either
 * it stays the whole mesh: a policy of the root namespace may cover every other one. */
static void scope_recover(struct policy *p, struct unpack *unpack, const void *packed, size_t len)
{
	const Istio__Security__AuthorizationHead *h =
		istio__security__authorization_head__unpack(&unpack->memory, len, packed);

	if (h && streq(h->namespace_, p->namespace_) && streq(h->name, p->name))
		(void)scope_decode(h->scope, p);
}

/* A policy that denies everywhere, until it is decoded. */
static int policy_new(const char *key, size_t len_packed, struct policy **ret)
{
	_cleanup_(policy_unrefp) struct policy *p = calloc(1, sizeof(*p));
	const char *slash = strchr(key, '/');
	int len = slash ? (int)(slash - key) : (int)strlen(key);
	int r;

	if (!p)
		return -ENOMEM;
	atomic_init(&p->refs, 1);
	/* what it says, as structures */
	r = arena_new(len_packed * 6, &p->arena);
	if (r < 0)
		return r;
	p->key = arena_str(p->arena, key);
	p->namespace_ = arena_printf(p->arena, "%.*s", len, key);
	p->name = arena_str(p->arena, slash ? slash + 1 : "");
	if (!p->key || !p->namespace_ || !p->name)
		return -ENOMEM;
	p->scope = POLICY_GLOBAL;
	p->action = POLICY_DENY;
	p->is_broken = true;
	*ret = TAKE_PTR(p);
	return 0;
}

static const char *reach(const struct policy *p)
{
	return p->scope == POLICY_GLOBAL ? "in the mesh" : "it covers";
}

/* NOLINTNEXTLINE(readability-function-size) */
int decode_policy(const char *name, const void *packed, size_t len, struct policy **ret, char *err,
		  size_t err_size)
{
	_cleanup_(policy_unrefp) struct policy *p = NULL;
	_cleanup_(unpack_resetp) struct unpack unpack;
	const Istio__Security__Authorization *m;
	const char *what = "name";
	int r = policy_new(name, len, &p);

	unpack_init(&unpack, UNPACK_BLOCK);
	if (r < 0)
		return r;
	m = istio__security__authorization__unpack(&unpack.memory, len, packed);
	if (!m && !unpack.is_short)
		scope_recover(p, &unpack, packed, len);
	if (unpack.is_short)
		return -ENOMEM;
	if (!m) {
		(void)snprintf(err, err_size,
			       "%s: not an istio.security.Authorization; everything %s is denied",
			       name, reach(p));
		*ret = TAKE_PTR(p);
		return -EBADMSG;
	}
	r = streq(m->namespace_, p->namespace_) && streq(m->name, p->name) ? 0 : -EINVAL;
	if (r == 0)
		r = policy_decode(p, m, &unpack, &what);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		(void)snprintf(err, err_size, "%s: %s: not understood; everything %s %s denied",
			       name, what, reach(p), p->is_dry_run ? "would be" : "is");
	*ret = TAKE_PTR(p);
	return r;
}

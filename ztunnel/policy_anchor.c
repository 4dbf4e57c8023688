/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/policy_anchor.h"

#include <stdbool.h>
#include <string.h>

#include "ztunnel/policy_match.h"

/* What half of all connections have is a poor anchor. */
#define COMMON_WEIGHT 64
#define ADDR_BITS     128

/* Fields of a match that can be its anchor, better ones first. */
enum field {
	FIELD_NEVER, /* an empty match: nothing hits it */
	FIELD_PRINCIPALS,
	FIELD_ACCOUNTS,
	FIELD_SRC,
	FIELD_DST,
	FIELD_NAMESPACES,
	FIELD_PORTS,
	FIELD_NO_IDENTITY,
	FIELDS,
};

static void anchor_begin(struct anchor *a, enum policy_class class, enum anchor_kind kind,
			 size_t value_len)
{
	a->kind = kind;
	a->value_len = value_len;
	a->key[0] = (uint8_t) class;
	a->key[1] = (uint8_t)kind;
	a->key[2] = (uint8_t)(value_len >> 8);
	a->key[3] = (uint8_t)value_len;
	a->len = 4;
}

static void anchor_put(struct anchor *a, const void *p, size_t n)
{
	memcpy(a->key + a->len, p, n);
	a->len += n;
}

/* anchor_text() - Return: false when no connection has it: longer than any identity. */
static bool anchor_text(struct anchor *a, const char *text, size_t n)
{
	if (n >= ANCHOR_TEXT_MAX)
		return false;
	anchor_put(a, text, n);
	return true;
}

static bool anchor_account(struct anchor *a, const char *ns, const char *account)
{
	size_t n = strlen(ns), m = strlen(account);

	/* with the NUL between them; more than an identity can hold matches none */
	if (n + 1 + m >= ANCHOR_TEXT_MAX)
		return false;
	anchor_put(a, ns, n + 1);
	anchor_put(a, account, m);
	return true;
}

static void anchor_prefix(struct anchor *a, const struct cv_addr *addr, size_t bits)
{
	uint8_t bytes[ADDR_BITS / 8];

	memcpy(bytes, addr, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		size_t keep = bits > i * 8 ? MIN(bits - i * 8, (size_t)8) : 0;

		bytes[i] &= (uint8_t)(0xff00U >> keep);
	}
	anchor_put(a, bytes, sizeof(bytes));
}

void anchor_lengths_add(struct anchor_lengths *l, const struct anchor *a)
{
	l->used[a->kind][a->value_len / 64] |= 1ULL << a->value_len % 64;
}

static bool is_length_used(const struct anchor_lengths *l, enum anchor_kind kind, size_t len)
{
	return l->used[kind][len / 64] >> len % 64 & 1;
}

static bool has_presence(const struct text_matches *l)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->items[i].kind == TEXT_PRESENT)
			return true;
	return false;
}

static bool is_usable(const struct policy_match *m, enum field field)
{
	switch (field) {
	case FIELD_NEVER:
		return m->is_empty;
	case FIELD_PRINCIPALS:
		return m->principals.count > 0;
	case FIELD_ACCOUNTS:
		return m->accounts.count > 0;
	case FIELD_SRC:
		return m->src_ips.count > 0;
	case FIELD_DST:
		return m->dst_ips.count > 0;
	case FIELD_NAMESPACES:
		return m->namespaces.count > 0;
	case FIELD_PORTS:
		return m->dst_ports.count > 0;
	case FIELD_NO_IDENTITY:
		return has_presence(&m->not_principals) || has_presence(&m->not_namespaces);
	case FIELDS:
		break;
	}
	return false;
}

static int texts_visit(enum policy_class class, const struct text_matches *l,
		       enum anchor_kind exact, anchor_fn fn, void *arg)
{
	bool is_principal = exact == ANCHOR_PRINCIPAL;
	const enum anchor_kind kinds[] = {
		[TEXT_EXACT] = exact,
		[TEXT_PREFIX] = is_principal ? ANCHOR_PRINCIPAL_PREFIX : ANCHOR_NAMESPACE_PREFIX,
		[TEXT_SUFFIX] = is_principal ? ANCHOR_PRINCIPAL_SUFFIX : ANCHOR_NAMESPACE_SUFFIX,
		[TEXT_PRESENT] = ANCHOR_IDENTITY,
	};
	struct anchor a;
	int r = 0;

	for (size_t i = 0; i < l->count && r == 0; i++) {
		const struct text_match *t = &l->items[i];
		bool has_length = t->kind == TEXT_PREFIX || t->kind == TEXT_SUFFIX;

		if (t->len >= ANCHOR_TEXT_MAX)
			continue;
		anchor_begin(&a, class, kinds[t->kind], has_length ? t->len : 0);
		if (t->kind == TEXT_PRESENT || anchor_text(&a, t->text, t->len))
			r = fn(arg, &a);
	}
	return r;
}

static int cidrs_visit(enum policy_class class, const struct cidr_matches *l, enum anchor_kind kind,
		       anchor_fn fn, void *arg)
{
	struct anchor a;
	int r = 0;

	for (size_t i = 0; i < l->count && r == 0; i++) {
		anchor_begin(&a, class, kind, l->items[i].len);
		anchor_prefix(&a, &l->items[i].addr, l->items[i].len);
		r = fn(arg, &a);
	}
	return r;
}

static int accounts_visit(enum policy_class class, const struct account_matches *l, anchor_fn fn,
			  void *arg)
{
	struct anchor a;
	int r = 0;

	for (size_t i = 0; i < l->count && r == 0; i++) {
		anchor_begin(&a, class, ANCHOR_ACCOUNT, 0);
		if (anchor_account(&a, l->items[i].namespace_, l->items[i].service_account))
			r = fn(arg, &a);
	}
	return r;
}

static int ports_visit(enum policy_class class, const struct port_matches *l, anchor_fn fn,
		       void *arg)
{
	struct anchor a;
	int r = 0;

	for (size_t i = 0; i < l->count && r == 0; i++) {
		anchor_begin(&a, class, ANCHOR_PORT, 0);
		anchor_put(&a, &l->items[i], sizeof(l->items[i]));
		r = fn(arg, &a);
	}
	return r;
}

static int plain_visit(enum policy_class class, enum anchor_kind kind, anchor_fn fn, void *arg)
{
	struct anchor a;

	anchor_begin(&a, class, kind, 0);
	return fn(arg, &a);
}

static int field_visit(enum policy_class class, const struct policy_match *m, enum field field,
		       anchor_fn fn, void *arg)
{
	switch (field) {
	case FIELD_PRINCIPALS:
		return texts_visit(class, &m->principals, ANCHOR_PRINCIPAL, fn, arg);
	case FIELD_ACCOUNTS:
		return accounts_visit(class, &m->accounts, fn, arg);
	case FIELD_SRC:
		return cidrs_visit(class, &m->src_ips, ANCHOR_SRC, fn, arg);
	case FIELD_DST:
		return cidrs_visit(class, &m->dst_ips, ANCHOR_DST, fn, arg);
	case FIELD_NAMESPACES:
		return texts_visit(class, &m->namespaces, ANCHOR_NAMESPACE, fn, arg);
	case FIELD_PORTS:
		return ports_visit(class, &m->dst_ports, fn, arg);
	case FIELD_NO_IDENTITY:
		return plain_visit(class, ANCHOR_NO_IDENTITY, fn, arg);
	case FIELD_NEVER:
	case FIELDS:
		break;
	}
	return 0;
}

/* The fullest bucket that a field would go to. */
struct load {
	int (*count)(void *arg, const struct anchor *a, size_t *ret);
	void *arg;
	size_t worst;
};

static int on_load(void *arg, const struct anchor *a)
{
	bool is_common = a->kind == ANCHOR_IDENTITY || a->kind == ANCHOR_NO_IDENTITY;
	struct load *l = arg;
	size_t n = 0;

	(void)l->count(l->arg, a, &n);
	if (is_common)
		n = (n + 1) * COMMON_WEIGHT;
	l->worst = MAX(l->worst, n);
	return 0;
}

/* Return: how full it is there; SIZE_MAX: nothing to file the match under. */
static size_t field_choose(enum policy_class class, const struct policy_match *m, struct load *l,
			   uint8_t *ret_field)
{
	size_t best = SIZE_MAX;

	for (enum field f = FIELD_NEVER; f < FIELDS; f++) {
		if (!is_usable(m, f))
			continue;
		l->worst = 0;
		(void)field_visit(class, m, f, on_load, l);
		if (l->worst >= best)
			continue;
		best = l->worst;
		*ret_field = (uint8_t)f;
	}
	return best;
}

/* A clause without matches is true: no anchor. */
static size_t clause_choose(enum policy_class class, const struct policy_clause *c, struct load *l,
			    uint8_t *ret_fields)
{
	size_t worst = c->count ? 0 : SIZE_MAX;

	for (size_t i = 0; i < c->count; i++)
		worst = MAX(worst, field_choose(class, &c->matches[i], l, &ret_fields[i]));
	return worst;
}

void anchor_choose(enum policy_class class, const struct policy_rule *rule,
		   int (*count)(void *arg, const struct anchor *a, size_t *ret), void *arg,
		   struct anchor_choice *ret)
{
	struct load l = {.count = count, .arg = arg};
	size_t best = SIZE_MAX;

	ret->clause = SIZE_MAX;
	for (size_t i = 0; i < rule->count; i++) {
		size_t n = clause_choose(class, &rule->clauses[i], &l, ret->fields);

		if (n >= best)
			continue;
		best = n;
		ret->clause = i;
	}
	/* the fields of the last one that was tried are there now */
	if (ret->clause != SIZE_MAX)
		(void)clause_choose(class, &rule->clauses[ret->clause], &l, ret->fields);
}

int anchors_visit(enum policy_class class, const struct policy_rule *rule,
		  const struct anchor_choice *at, anchor_fn fn, void *arg)
{
	const struct policy_clause *c;
	int r = 0;

	if (at->clause == SIZE_MAX)
		return plain_visit(class, ANCHOR_NONE, fn, arg);
	c = &rule->clauses[at->clause];
	for (size_t i = 0; i < c->count && r == 0; i++)
		r = field_visit(class, &c->matches[i], (enum field)at->fields[i], fn, arg);
	return r;
}

static int not_fields_visit(enum policy_class class, const struct policy_match *m, anchor_fn fn,
			    void *arg)
{
	int r = texts_visit(class, &m->not_principals, ANCHOR_PRINCIPAL, fn, arg);

	if (r == 0)
		r = texts_visit(class, &m->not_namespaces, ANCHOR_NAMESPACE, fn, arg);
	if (r == 0)
		r = accounts_visit(class, &m->not_accounts, fn, arg);
	if (r == 0)
		r = cidrs_visit(class, &m->not_src_ips, ANCHOR_SRC, fn, arg);
	if (r == 0)
		r = cidrs_visit(class, &m->not_dst_ips, ANCHOR_DST, fn, arg);
	return r ? r : ports_visit(class, &m->not_dst_ports, fn, arg);
}

int anchors_against_visit(enum policy_class class, const struct policy_rule *rule, anchor_fn fn,
			  void *arg)
{
	int r = 0;

	/* with several matches in a clause no one thing is against all of them */
	for (size_t i = 0; i < rule->count && r == 0; i++)
		if (rule->clauses[i].count == 1)
			r = not_fields_visit(class, &rule->clauses[i].matches[0], fn, arg);
	return r;
}

/* A walk over what a connection has. */
struct walk {
	enum policy_class class;
	const struct anchor_lengths *lengths;
	anchor_fn fn;
	void *arg;
};

static int walk_part(const struct walk *w, enum anchor_kind kind, const char *part, size_t len)
{
	struct anchor a;

	if (!is_length_used(w->lengths, kind, len))
		return 0;
	anchor_begin(&a, w->class, kind, len);
	anchor_put(&a, part, len);
	return w->fn(w->arg, &a);
}

/* A text itself, and each of its beginnings and ends that some rule has the length of. */
static int walk_text(const struct walk *w, const char *s, enum anchor_kind exact)
{
	bool is_principal = exact == ANCHOR_PRINCIPAL;
	enum anchor_kind prefix = is_principal ? ANCHOR_PRINCIPAL_PREFIX : ANCHOR_NAMESPACE_PREFIX;
	enum anchor_kind suffix = is_principal ? ANCHOR_PRINCIPAL_SUFFIX : ANCHOR_NAMESPACE_SUFFIX;
	size_t n = strlen(s);
	struct anchor a;
	int r;

	if (n >= ANCHOR_TEXT_MAX)
		return 0;
	anchor_begin(&a, w->class, exact, 0);
	anchor_put(&a, s, n);
	r = w->fn(w->arg, &a);
	for (size_t len = 0; len <= n && r == 0; len++) {
		r = walk_part(w, prefix, s, len);
		if (r == 0)
			r = walk_part(w, suffix, s + n - len, len);
	}
	return r;
}

static int walk_addr(const struct walk *w, const struct cv_addr *addr, enum anchor_kind kind)
{
	struct anchor a;
	int r = 0;

	/* an IPv4 address is in no IPv6 prefix, as cidr_contains() has it */
	for (size_t bits = cv_addr_is_v4(addr) ? CIDR_V4 : 0; bits <= ADDR_BITS && r == 0; bits++) {
		if (!is_length_used(w->lengths, kind, bits))
			continue;
		anchor_begin(&a, w->class, kind, bits);
		anchor_prefix(&a, addr, bits);
		r = w->fn(w->arg, &a);
	}
	return r;
}

static int walk_identity(const struct walk *w, const struct policy_subject *s)
{
	bool has_identity = s->principal[0] != '\0';
	struct anchor a;
	int r = 0;

	anchor_begin(&a, w->class, ANCHOR_ACCOUNT, 0);
	if (has_identity && anchor_account(&a, s->id.namespace_, s->id.service_account))
		r = w->fn(w->arg, &a);
	return r ? r
		 : plain_visit(w->class, has_identity ? ANCHOR_IDENTITY : ANCHOR_NO_IDENTITY, w->fn,
			       w->arg);
}

int anchors_of_subject(enum policy_class class, const struct policy_subject *s,
		       const struct anchor_lengths *lengths, anchor_fn fn, void *arg)
{
	const struct walk w = {.class = class, .lengths = lengths, .fn = fn, .arg = arg};
	struct anchor a;
	int r;

	r = walk_text(&w, s->principal, ANCHOR_PRINCIPAL);
	if (r == 0)
		r = walk_text(&w, s->id.namespace_, ANCHOR_NAMESPACE);
	if (r == 0)
		r = walk_identity(&w, s);
	anchor_begin(&a, class, ANCHOR_PORT, 0);
	anchor_put(&a, &s->dst_port, sizeof(s->dst_port));
	if (r == 0)
		r = fn(arg, &a);
	if (r == 0)
		r = walk_addr(&w, s->src, ANCHOR_SRC);
	if (r == 0)
		r = walk_addr(&w, s->dst, ANCHOR_DST);
	return r ? r : plain_visit(class, ANCHOR_NONE, fn, arg);
}

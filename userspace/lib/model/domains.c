/* SPDX-License-Identifier: Apache-2.0 */
/* domains - the names of our trust domain in policies. As Istio has it: a principal of one of them,
 * or of "cluster.local", which stands for whatever ours is called, is meant under each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/domains.h"
#include "model/match.h"

#define POINTER_DOMAIN "cluster.local"
#define SLASHES        4 /* of "td/ns/n/sa/a" */

typedef Istio__Security__StringMatch string_match;

/* What a list of principals becomes. */
struct expansion {
	const struct model *m;
	struct scratch *a;
	string_match **list;
	size_t count;
};

static const char *domain_at(const struct model *m, size_t i)
{
	return i == 0 ? m->trust_domain : m->aliases[i - 1];
}

static size_t domain_count(const struct model *m)
{
	return m->alias_count + 1;
}

/* The text that is matched; NULL: not one that names a trust domain. @ret_len: of the domain. */
static const char *text_of(const string_match *s, size_t *ret_len)
{
	const char *text = s->exact;
	size_t slashes = 0;

	if (s->match_type_case == ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE ||
	    s->match_type_case == ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE__NOT_SET)
		return NULL;
	for (const char *p = text; *p; p++)
		slashes += *p == '/';
	*ret_len = strcspn(text, "/");
	return slashes == SLASHES && *ret_len > 0 ? text : NULL;
}

static bool is_domain(const string_match *s, size_t len, const char *domain)
{
	bool is_end = s->match_type_case == ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX;
	size_t n = strlen(domain);

	return is_end ? n >= len && strncmp(domain + n - len, s->suffix, len) == 0
		      : n == len && strncmp(domain, s->exact, len) == 0;
}

/* Some name of ours, or the word for them. */
static bool is_ours(const struct model *m, const string_match *s, size_t len)
{
	bool is_end = s->match_type_case == ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX;

	for (size_t i = 0; i < domain_count(m); i++)
		if (is_domain(s, len, domain_at(m, i)))
			return true;
	return !is_end && is_domain(s, len, POINTER_DOMAIN);
}

static void add(struct expansion *x, string_match *s)
{
	if (x->list && s)
		x->list[x->count++] = s;
}

/* The same under @domain. */
static string_match *renamed(struct expansion *x, const string_match *s, const char *domain,
			     size_t len)
{
	string_match *copy = scratch_alloc(x->a, sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *s;
	if (s->match_type_case == ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX)
		copy->match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
	copy->exact = scratch_format(x->a, "%s%s", domain, s->exact + len);
	return copy->exact ? copy : NULL;
}

static void expand_one(struct expansion *x, string_match *s)
{
	bool is_kept = false;
	size_t len;

	if (!text_of(s, &len) || !is_ours(x->m, s, len)) {
		add(x, s);
		return;
	}
	for (size_t i = 0; i < domain_count(x->m); i++) {
		if (!is_domain(s, len, domain_at(x->m, i)))
			add(x, renamed(x, s, domain_at(x->m, i), len));
		else if (!is_kept)
			add(x, s);
		is_kept |= is_domain(s, len, domain_at(x->m, i));
	}
}

static void expand_list(const struct model *m, struct scratch *a, string_match ***list, size_t *n)
{
	struct expansion x = {.m = m, .a = a};

	if (*n == 0)
		return;
	x.list = scratch_alloc(a, *n * domain_count(m) * sizeof(*x.list));
	for (size_t i = 0; i < *n; i++)
		expand_one(&x, (*list)[i]);
	*list = x.list;
	*n = x.count;
}

static void expand_clause(const struct model *m, struct scratch *a, Istio__Security__Clause *c)
{
	for (size_t i = 0; i < c->n_matches; i++) {
		Istio__Security__Match *match = c->matches[i];

		expand_list(m, a, &match->principals, &match->n_principals);
		expand_list(m, a, &match->not_principals, &match->n_not_principals);
	}
}

void domains_expand(const struct model *m, Istio__Security__Authorization *z, struct scratch *a)
{
	for (size_t i = 0; i < z->n_rules && !a->error; i++)
		for (size_t k = 0; k < z->rules[i]->n_clauses; k++)
			expand_clause(m, a, z->rules[i]->clauses[k]);
}

void domains_free(struct model *m)
{
	for (size_t i = 0; i < m->alias_count; i++)
		free(m->aliases[i]);
	free(m->aliases);
	m->aliases = NULL;
	m->alias_count = 0;
}

static bool is_same(const struct model *m, const char *const *names, size_t n)
{
	bool is_same = n == m->alias_count;

	for (size_t i = 0; is_same && i < n; i++)
		is_same = streq(names[i], m->aliases[i]);
	return is_same;
}

int model_set_trust_domain_aliases(struct model *m, const char *const *names, size_t n)
{
	char **copy;

	if (is_same(m, names, n))
		return 0;
	copy = calloc(n + 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	domains_free(m);
	m->aliases = copy;
	for (size_t i = 0; i < n; i++) {
		copy[i] = strdup(names[i]);
		if (!copy[i])
			return -ENOMEM;
		m->alias_count++;
	}
	map_for_each (m->entities[ENTITY_POLICY], it)
		entity_mark(m, it.value);
	return 0;
}

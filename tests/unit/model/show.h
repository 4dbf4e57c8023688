/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* show - an Authorization as one line of text, so that a test can say what it wants: rules with |,
 * clauses with &, matches with +, fields with spaces. For the tests of this folder. */
#include "net/addr.h"
#include "tests/unit/model/fixture.h"

static char show_text[4096];

static inline void show_add(const char *fmt, ...) _printf_(1, 2);
static inline void show_add(const char *fmt, ...)
{
	size_t n = strlen(show_text);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(show_text + n, sizeof(show_text) - n, fmt, ap);
	va_end(ap);
}

static inline void show_strings(const char *name, Istio__Security__StringMatch **list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const Istio__Security__StringMatch *s = list[i];

		switch (s->match_type_case) {
		case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT:
			show_add(" %s=%s", name, s->exact);
			break;
		case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PREFIX:
			show_add(" %s^%s", name, s->prefix);
			break;
		case ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX:
			show_add(" %s$%s", name, s->suffix);
			break;
		default:
			show_add(" %s=*", name);
		}
	}
}

static inline void show_addresses(const char *name, Istio__Security__Address **list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char text[CV_ADDR_STRLEN];
		struct cv_addr a;

		assert_int_equal(
			cv_addr_from_bytes(list[i]->address.data, list[i]->address.len, &a), 0);
		show_add(" %s=%s/%u", name, cv_addr_format(&a, text), list[i]->length);
	}
}

static inline void show_ports(const char *name, const uint32_t *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		show_add(" %s=%u", name, list[i]);
}

static inline void show_accounts(const char *name, Istio__Security__ServiceAccountMatch **list,
				 size_t n)
{
	for (size_t i = 0; i < n; i++)
		show_add(" %s=%s/%s", name, list[i]->namespace_, list[i]->serviceaccount);
}

static inline void show_match(const Istio__Security__Match *m)
{
	show_strings("ns", m->namespaces, m->n_namespaces);
	show_strings("!ns", m->not_namespaces, m->n_not_namespaces);
	show_strings("id", m->principals, m->n_principals);
	show_strings("!id", m->not_principals, m->n_not_principals);
	show_addresses("src", m->source_ips, m->n_source_ips);
	show_addresses("!src", m->not_source_ips, m->n_not_source_ips);
	show_addresses("dst", m->destination_ips, m->n_destination_ips);
	show_addresses("!dst", m->not_destination_ips, m->n_not_destination_ips);
	show_ports("port", m->destination_ports, m->n_destination_ports);
	show_ports("!port", m->not_destination_ports, m->n_not_destination_ports);
	show_accounts("sa", m->service_accounts, m->n_service_accounts);
	show_accounts("!sa", m->not_service_accounts, m->n_not_service_accounts);
}

/* "DENY ns: rule & clause" */
static inline const char *show(const Istio__Security__Authorization *z)
{
	static const char *const scopes[] = {"global", "ns", "selector"};

	show_text[0] = '\0';
	if (!z)
		return "none";
	show_add("%s %s:", z->action == ISTIO__SECURITY__ACTION__DENY ? "DENY" : "ALLOW",
		 scopes[z->scope]);
	for (size_t i = 0; i < z->n_rules; i++) {
		show_add("%s", i ? " |" : "");
		if (z->rules[i]->n_clauses == 0)
			show_add(" any");
		for (size_t j = 0; j < z->rules[i]->n_clauses; j++) {
			const Istio__Security__Clause *c = z->rules[i]->clauses[j];

			show_add("%s", j ? " &" : "");
			for (size_t k = 0; k < c->n_matches; k++) {
				show_add("%s", k ? " +" : "");
				show_match(c->matches[k]);
			}
		}
	}
	return show_text;
}

/* The policies that a pod names, with spaces. */
static inline const char *names_of(struct fixture *f, const char *pod)
{
	const Istio__Workload__Workload *w = workload(f, pod);

	show_text[0] = '\0';
	assert_non_null(w);
	for (size_t i = 0; i < w->n_authorization_policies; i++)
		show_add("%s%s", i ? " " : "", w->authorization_policies[i]);
	return show_text;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* decision - what it costs to decide on a connection, and to add a policy, with 10 to 10,000
 * policies of each scope, once of fields and once of not-fields alone. Prints a JSON line per scope
 * and size. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/addr.h"
#include "userspace/lib/xds/authorization.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "ztunnel/authz.h"
#include "ztunnel/decode.h"
#include "ztunnel/policy.h"
#include "ztunnel/state.h"
#include "ztunnel/state_builder.h"

#define LOOPS  20000
#define LARGE  10000
#define UID    "Kubernetes//Pod/demo/a"
#define PACKED (1024 * 1024)

typedef Istio__Security__Scope scope_type;

static const char *const scope_words[] = {"global", "namespace", "selector"};

enum shape {
	NAMED, /* each names a port, an address, a principal or the end of one */
	NOT, /* each is against a thing of its own and one that the connection has: none matches */
};

static double now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void check(int r, const char *what)
{
	if (r == 0)
		return;
	(void)fprintf(stderr, "decision: %s: %s\n", what, strerror(-r));
	exit(1);
}

static const char *name_of(unsigned int number)
{
	static char name[32];

	(void)snprintf(name, sizeof(name), "demo/p%u", number);
	return name;
}

/* What a rule's fields point to. */
struct fields {
	uint32_t ports[2];
	uint8_t bytes[2][4];
	char text[64];
	Istio__Security__Address cidrs[2], *cidr_list[2];
	Istio__Security__StringMatch texts[2], *text_list[2];
};

static void fields_init(struct fields *f, unsigned int number)
{
	static const char alice[] = "cluster.local/ns/demo/sa/alice";

	*f = (struct fields){.ports = {1000 + number % 60000, 80},
			     .bytes = {{10, 77, (uint8_t)(number >> 8), (uint8_t)number}, {10, 0}}};
	(void)snprintf(f->text, sizeof(f->text), "cluster.local/ns/n%u/sa/s%u", number % 97,
		       number);
	for (size_t i = 0; i < 2; i++) {
		istio__security__address__init(&f->cidrs[i]);
		f->cidrs[i].address = (ProtobufCBinaryData){4, f->bytes[i]};
		f->cidrs[i].length = i ? 16 : 32;
		f->cidr_list[i] = &f->cidrs[i];
		istio__security__string_match__init(&f->texts[i]);
		f->texts[i].match_type_case =
			number % 5 == 4 ? ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX
					: ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
		f->texts[i].exact = i ? (char *)alice : f->text;
		f->text_list[i] = &f->texts[i];
	}
}

static void match_named(Istio__Security__Match *m, struct fields *f, unsigned int number)
{
	if (number % 5 == 0) {
		m->n_source_ips = 1;
		m->source_ips = f->cidr_list;
	} else if (number % 5 == 1) {
		m->n_destination_ports = 1;
		m->destination_ports = f->ports;
	} else {
		m->n_principals = 1;
		m->principals = f->text_list;
	}
}

static void match_not(Istio__Security__Match *m, struct fields *f, unsigned int number)
{
	if (number % 5 == 0) {
		m->n_not_source_ips = 2;
		m->not_source_ips = f->cidr_list;
	} else if (number % 5 == 1) {
		m->n_not_destination_ports = 2;
		m->not_destination_ports = f->ports;
	} else {
		m->n_not_principals = 2;
		m->not_principals = f->text_list;
	}
}

static void policy_put(struct state_builder *b, scope_type scope, enum shape shape,
		       unsigned int number)
{
	Istio__Security__Authorization a = ISTIO__SECURITY__AUTHORIZATION__INIT;
	Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules[] = {&rule};
	Istio__Security__Clause clause = ISTIO__SECURITY__CLAUSE__INIT, *clauses[] = {&clause};
	Istio__Security__Match m = ISTIO__SECURITY__MATCH__INIT, *matches[] = {&m};
	struct policy *p = NULL;
	uint8_t packed[1024];
	struct fields f;
	char err[256] = "";

	a.name = strchr(name_of(number), '/') + 1;
	a.namespace_ = "demo";
	a.scope = scope;
	a.action = number % 3 ? ISTIO__SECURITY__ACTION__DENY : ISTIO__SECURITY__ACTION__ALLOW;
	a.n_rules = rule.n_clauses = clause.n_matches = 1;
	a.rules = rules;
	rule.clauses = clauses;
	clause.matches = matches;
	fields_init(&f, number);
	if (shape == NOT)
		match_not(&m, &f, number);
	else
		match_named(&m, &f, number);
	check(decode_policy(name_of(number), packed,
			    istio__security__authorization__pack(&a, packed), &p, err, sizeof(err)),
	      "decode");
	check(state_builder_put_policy(b, p), "put");
	policy_unref(p);
}

/* A workload that names the first @n of them. */
static void workload_put(struct state_builder *b, struct decode_tables *tables, unsigned int n)
{
	static char names[LARGE][32], *pointers[LARGE];
	static uint8_t packed[PACKED];
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	struct decoded_address out = {0};
	char err[256] = "";

	for (unsigned int i = 0; i < n; i++) {
		(void)strcpy(names[i], name_of(i));
		pointers[i] = names[i];
	}
	w.uid = UID;
	w.name = "a";
	w.namespace_ = "demo";
	w.node = "n1";
	w.authorization_policies = pointers;
	w.n_authorization_policies = n;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &w;
	check(decode_address(tables, packed, istio__workload__address__pack(&a, packed), &out, err,
			     sizeof(err)),
	      "decode");
	check(state_builder_put_workload(b, out.workload), "put");
	workload_unref(out.workload);
}

static double decide_us(const struct state *s)
{
	struct authz_conn conn = {.src_identity = "spiffe://cluster.local/ns/demo/sa/alice"};
	const struct workload *w = state_workload_by_uid(s, UID);
	struct authz_verdict v;
	double begin;

	check(cv_sockaddr_parse("10.0.0.9:40000", &conn.src), "address");
	check(cv_sockaddr_parse("10.0.0.1:80", &conn.dst), "address");
	begin = now_us();
	for (int i = 0; i < LOOPS; i++)
		authz_check(s, w, &conn, &v);
	return (now_us() - begin) / LOOPS;
}

static void scope_run(scope_type scope, enum shape shape)
{
	struct decode_tables *tables = NULL;
	struct state_builder *b = NULL;
	unsigned int n = 0;

	check(decode_tables_new("", &tables), "memory");
	check(state_builder_new("n1", &b), "memory");
	for (unsigned int size = 10; size <= LARGE; size *= 10) {
		unsigned int before = n;
		double begin = now_us();
		struct state *s = NULL;

		while (n < size)
			policy_put(b, scope, shape, n++);
		if (scope == ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR || size == 10)
			workload_put(b, tables,
				     scope == ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR ? size : 0);
		begin = (now_us() - begin) / (size - before);
		check(state_builder_build(b, &s), "build");
		printf("{\"scope\":\"%s%s\",\"policies\":%u,\"add_us\":%.2f,\"decide_us\":%.3f}\n",
		       scope_words[scope], shape == NOT ? "_not" : "", size, begin, decide_us(s));
		state_unref(s);
	}
	state_builder_free(b);
	decode_tables_free(tables);
}

int main(void)
{
	for (enum shape shape = NAMED; shape <= NOT; shape++) {
		scope_run(ISTIO__SECURITY__SCOPE__GLOBAL, shape);
		scope_run(ISTIO__SECURITY__SCOPE__NAMESPACE, shape);
		scope_run(ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR, shape);
	}
	return 0;
}

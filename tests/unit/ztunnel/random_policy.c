/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ztunnel/random_policy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "net/addr.h"
#include "xds/types.h"

static struct random_memory *memory;

uint32_t random_next(uint32_t n)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32) % n;
}

static void *take(size_t n)
{
	void *p = memory->bytes + memory->used;

	memory->used += (n + 15) / 16 * 16;
	assert_true(memory->used <= sizeof(memory->bytes));
	return memset(p, 0, n);
}

static size_t some(void)
{
	return random_next(4) ? 0 : 1 + random_next(2);
}

static const struct ref_addr addrs[] = {
	{{10, 0, 0, 1}, 4},      {{10, 0, 0, 9}, 4},        {{10, 1, 0, 9}, 4},
	{{192, 168, 7, 200}, 4}, {{0xfd, 0, [15] = 1}, 16}, {{0xfd, 0, 1, [15] = 9}, 16},
};
static const char *const texts[] = {
	"cluster.local/ns/demo/sa/alice",
	"cluster.local/ns/demo/",
	"td2/ns/other/sa/bob",
	"/sa/bob",
	"demo",
	"other",
	"de",
	"mo",
	"",
	"cluster",
};

static Istio__Security__StringMatch **random_texts(size_t *ret_n)
{
	static Google__Protobuf__Empty nothing = GOOGLE__PROTOBUF__EMPTY__INIT;
	Istio__Security__StringMatch **list = take((*ret_n = some()) * sizeof(*list));

	for (size_t i = 0; i < *ret_n; i++) {
		Istio__Security__StringMatch *t = take(sizeof(*t));

		istio__security__string_match__init(t);
		t->match_type_case =
			(Istio__Security__StringMatch__MatchTypeCase)(1 + random_next(4));
		if (t->match_type_case == ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE)
			t->presence = &nothing;
		else
			t->exact = (char *)texts[random_next(ARRAY_SIZE(texts))];
		list[i] = t;
	}
	return list;
}

static Istio__Security__Address **random_cidrs(size_t *ret_n)
{
	Istio__Security__Address **list = take((*ret_n = some()) * sizeof(*list));

	for (size_t i = 0; i < *ret_n; i++) {
		const struct ref_addr *from = &addrs[random_next(ARRAY_SIZE(addrs))];

		list[i] = take(sizeof(**list));
		istio__security__address__init(list[i]);
		list[i]->address = (ProtobufCBinaryData){from->len, (uint8_t *)from->bytes};
		list[i]->length = random_next((uint32_t)from->len * 8 + 1);
	}
	return list;
}

static uint32_t *random_ports(size_t *ret_n)
{
	uint32_t *list = take((*ret_n = some()) * sizeof(*list));

	for (size_t i = 0; i < *ret_n; i++)
		list[i] = 80 + random_next(3);
	return list;
}

static Istio__Security__ServiceAccountMatch **random_accounts(size_t *ret_n)
{
	Istio__Security__ServiceAccountMatch **list = take((*ret_n = some()) * sizeof(*list));

	for (size_t i = 0; i < *ret_n; i++) {
		list[i] = take(sizeof(**list));
		istio__security__service_account_match__init(list[i]);
		list[i]->namespace_ = random_next(2) ? "demo" : "other";
		list[i]->serviceaccount = random_next(2) ? "alice" : "bob";
	}
	return list;
}

static Istio__Security__Match *random_match(void)
{
	Istio__Security__Match *m = take(sizeof(*m));

	istio__security__match__init(m);
	m->namespaces = random_texts(&m->n_namespaces);
	m->not_namespaces = random_texts(&m->n_not_namespaces);
	m->principals = random_texts(&m->n_principals);
	m->not_principals = random_texts(&m->n_not_principals);
	m->source_ips = random_cidrs(&m->n_source_ips);
	m->not_source_ips = random_cidrs(&m->n_not_source_ips);
	m->destination_ips = random_cidrs(&m->n_destination_ips);
	m->not_destination_ips = random_cidrs(&m->n_not_destination_ips);
	m->destination_ports = random_ports(&m->n_destination_ports);
	m->not_destination_ports = random_ports(&m->n_not_destination_ports);
	m->service_accounts = random_accounts(&m->n_service_accounts);
	m->not_service_accounts = random_accounts(&m->n_not_service_accounts);
	return m;
}

static Istio__Security__Rule *random_rule(void)
{
	Istio__Security__Rule *rule = take(sizeof(*rule));

	istio__security__rule__init(rule);
	rule->n_clauses = random_next(8) ? 1 + random_next(2) : 0;
	rule->clauses = take(rule->n_clauses * sizeof(*rule->clauses));
	for (size_t i = 0; i < rule->n_clauses; i++) {
		Istio__Security__Clause *c = take(sizeof(*c));

		istio__security__clause__init(c);
		rule->clauses[i] = c;
		c->n_matches = random_next(8) ? 1 + random_next(3) : 0;
		c->matches = take(c->n_matches * sizeof(*c->matches));
		for (size_t k = 0; k < c->n_matches; k++)
			c->matches[k] = random_match();
	}
	return rule;
}

struct ref_policy random_policy(struct random_memory *mem, uint32_t slot)
{
	static const char *const names[RANDOM_NAMES] = {"p0", "p1", "p2", "p3", "p4",  "p5",
							"p6", "p7", "p8", "p9", "p10", "p11"};
	Istio__Security__Authorization *a;

	memory = mem;
	mem->used = 0;
	a = take(sizeof(*a));
	istio__security__authorization__init(a);
	a->name = (char *)names[slot];
	a->namespace_ = random_next(3) ? "demo" : "other";
	a->scope = (Istio__Security__Scope)random_next(3);
	a->action = (Istio__Security__Action)random_next(2);
	a->dry_run = random_next(4) == 0;
	a->n_rules = random_next(4);
	a->rules = take(a->n_rules * sizeof(*a->rules));
	for (size_t i = 0; i < a->n_rules; i++)
		a->rules[i] = random_rule();
	return (struct ref_policy){.m = a, .is_audit = random_next(5) == 0};
}

void random_put(struct state_builder *b, const struct ref_policy *p)
{
	Istio__Security__Authorization outer = *p->m;
	Istio__Workload__Extension e = ISTIO__WORKLOAD__EXTENSION__INIT, *list[] = {&e};
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	uint8_t packed[MESH_PACKED_SIZE];

	if (p->is_audit) {
		assert_true(istio__security__authorization__get_packed_size(p->m) <=
			    sizeof(packed));
		any.value.len = istio__security__authorization__pack(p->m, packed);
		any.value.data = packed;
		e.name = XDS_AUDIT_EXTENSION;
		e.config = &any;
		outer.extensions = list;
		outer.n_extensions = 1;
		outer.n_rules = 0;
		outer.action = ISTIO__SECURITY__ACTION__DENY;
	}
	mesh_put_policy(b, &outer);
}

static struct cv_addr addr_of(const struct ref_addr *a)
{
	struct cv_addr ret;

	assert_int_equal(cv_addr_from_bytes(a->bytes, a->len, &ret), 0);
	return ret;
}

void random_conn(struct ref_conn *ret, struct authz_conn *ret_conn, char identity[128])
{
	static const char *const domains[] = {"cluster.local", "td2"};
	static const char *const namespaces[] = {"demo", "other", "de"};
	static const char *const accounts[] = {"alice", "bob", "mo"};

	memset(ret_conn, 0, sizeof(*ret_conn));
	*ret = (struct ref_conn){.principal = "", .namespace_ = "", .account = ""};
	if (random_next(4)) {
		ret->namespace_ = namespaces[random_next(3)];
		ret->account = accounts[random_next(3)];
		(void)snprintf(identity, 128, "spiffe://%s/ns/%s/sa/%s", domains[random_next(2)],
			       ret->namespace_, ret->account);
		ret->principal = identity + strlen("spiffe://");
		ret_conn->src_identity = identity;
	}
	ret->src = addrs[random_next(ARRAY_SIZE(addrs))];
	ret->dst = addrs[random_next(ARRAY_SIZE(addrs))];
	ret->port = 80 + random_next(4);
	ret_conn->src.addr = addr_of(&ret->src);
	ret_conn->dst.addr = addr_of(&ret->dst);
	ret_conn->dst.port = htons((uint16_t)ret->port);
	ret->dst_namespace = "demo";
}

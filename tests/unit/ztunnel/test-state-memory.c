/* SPDX-License-Identifier: Apache-2.0 */
/* state_builder - a change that failed for want of memory, at whichever allocation, and is made
 * with a new builder: nothing of the first time is left over. And its decoding, which says so. */
#include "ztunnel/state_builder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/scarce-memory.h"
#include "tests/unit/ztunnel/mesh.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "xds/types.h"
#include "ztunnel/authz.h"
#include "ztunnel/decode.h"
#include "ztunnel/policy.h"
#include "ztunnel/settings.h"

/* One change: a policy, a workload, a service, or the end of one. */
struct step {
	const char *policy; /* of namespace demo */
	Istio__Security__Scope scope;
	Istio__Security__Action action;
	const char *principal;
	struct mesh_workload workload; /* if it has a name */
	struct mesh_service service;   /* likewise */
	const char *gone, *gone_policy;
};

#define GLOBAL     ISTIO__SECURITY__SCOPE__GLOBAL
#define NAMESPACE  ISTIO__SECURITY__SCOPE__NAMESPACE
#define WORKLOAD   ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR
#define ALLOW      ISTIO__SECURITY__ACTION__ALLOW
#define DENY       ISTIO__SECURITY__ACTION__DENY
#define ALICE      "cluster.local/ns/demo/sa/alice"
#define BOB        "cluster.local/ns/demo/sa/bob"
#define WEB        "demo/web.demo.svc.cluster.local"
#define UID_(name) "Kubernetes//Pod/demo/" name

static const struct step steps[] = {
	{.workload = {.name = "a",
		      .addrs = {"10.0.0.1"},
		      .policies = {"demo/p", "demo/q"},
		      .services = {WEB}}},
	{.workload = {.name = "b", .addrs = {"10.0.0.2"}, .policies = {"demo/p"}}},
	{.workload = {.name = "c", .addrs = {"10.0.0.3"}, .policies = {"demo/p"}, .node = "n2"}},
	{.policy = "p", .scope = WORKLOAD, .action = ALLOW, .principal = ALICE},
	{.policy = "q", .scope = NAMESPACE, .action = DENY, .principal = BOB},
	{.policy = "p", .scope = WORKLOAD, .action = DENY, .principal = ALICE},
	{.policy = "r", .scope = WORKLOAD, .action = ALLOW, .principal = BOB},
	{.service = {.name = "web", .vips = {"10.96.0.1"}, .ports = {80, 8080}}},
	{.workload = {.name = "a",
		      .addrs = {"10.0.0.4", "10.0.0.1"},
		      .policies = {"demo/r", "demo/p"},
		      .services = {WEB}}},
	{.policy = "p", .scope = GLOBAL, .action = ALLOW, .principal = ALICE},
	{.policy = "q", .scope = GLOBAL, .action = DENY, .principal = ALICE},
	{.gone_policy = "demo/p"},
	{.policy = "p", .scope = NAMESPACE, .action = ALLOW, .principal = ALICE},
	{.workload = {.name = "a", .addrs = {"10.0.0.4"}, .policies = {"demo/q"}}},
	{.gone = UID_("b")},
	{.gone_policy = "demo/q"},
	{.policy = "p", .scope = WORKLOAD, .action = DENY, .principal = BOB},
	{.gone = WEB},
	{.gone_policy = "demo/p"},
	{.gone_policy = "demo/r"},
	{.gone = UID_("a")},
	{.gone = UID_("c")},
};

static int put_policy(struct state_builder *b, const struct step *s, long fail_at)
{
	Istio__Security__StringMatch text = ISTIO__SECURITY__STRING_MATCH__INIT, *texts[] = {&text};
	Istio__Security__Match match = ISTIO__SECURITY__MATCH__INIT, *matches[] = {&match};
	Istio__Security__Clause clause = ISTIO__SECURITY__CLAUSE__INIT, *clauses[] = {&clause};
	Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules[] = {&rule};
	Istio__Security__Authorization m = ISTIO__SECURITY__AUTHORIZATION__INIT;
	struct policy *p;
	int r;

	text.match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
	text.exact = (char *)(uintptr_t)s->principal;
	match.n_principals = clause.n_matches = rule.n_clauses = m.n_rules = 1;
	match.principals = texts;
	clause.matches = matches;
	rule.clauses = clauses;
	m.rules = rules;
	m.name = (char *)(uintptr_t)s->policy;
	m.namespace_ = (char *)(uintptr_t) "demo";
	m.scope = s->scope;
	m.action = s->action;
	p = mesh_policy(&m);
	the_memory.left = fail_at;
	r = state_builder_put_policy(b, p);
	the_memory.left = -1;
	policy_unref(p);
	return r;
}

static int put_address(struct state_builder *b, const struct step *s, long fail_at)
{
	struct decoded_address a = {0};
	struct decode_tables *t = NULL;
	uint8_t packed[MESH_PACKED_SIZE];
	size_t len = s->workload.name ? mesh_pack_workload(&s->workload, packed)
				      : mesh_pack_service(&s->service, packed);
	char err[256];
	int r;

	assert_int_equal(decode_tables_new("", &t), 0);
	assert_int_equal(decode_address(t, packed, len, &a, err, sizeof(err)), 0);
	the_memory.left = fail_at;
	r = a.workload ? state_builder_put_workload(b, a.workload)
		       : state_builder_put_service(b, a.service);
	the_memory.left = -1;
	workload_unref(a.workload);
	service_def_unref(a.service);
	decode_tables_free(t);
	return r;
}

/* As xds_sync makes it, and as often. */
static int make(struct state_builder *b, const struct step *s, long fail_at)
{
	int r;

	if (s->policy)
		return put_policy(b, s, fail_at);
	if (s->workload.name || s->service.name)
		return put_address(b, s, fail_at);
	the_memory.left = fail_at;
	r = s->gone ? state_builder_del_address(b, s->gone)
		    : state_builder_del_policy(b, s->gone_policy);
	the_memory.left = -1;
	return r;
}

/* What can be asked of a mesh, and its answers. */
struct answers {
	char text[4096];
};

static void add(struct answers *a, const char *what)
{
	size_t n = strlen(a->text);

	(void)snprintf(a->text + n, sizeof(a->text) - n, "%s ", what);
}

static void ask_verdicts(const struct state *s, const struct workload *w, struct answers *into)
{
	static const char *const ids[] = {"spiffe://" ALICE, "spiffe://" BOB, NULL};
	struct authz_conn conn = {.src = mesh_sockaddr("10.0.0.9:4000"),
				  .dst = mesh_sockaddr("10.0.0.1:80")};
	struct authz_verdict v;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		conn.src_identity = ids[i];
		authz_check(s, w, &conn, &v);
		add(into, v.is_allowed ? "yes" : "no");
		add(into, v.policy);
	}
}

static void ask(struct state_builder *b, struct answers *into)
{
	static const char *const uids[] = {UID_("a"), UID_("b"), UID_("c")};
	static const char *const addrs[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"};
	struct state *s = mesh_build(b);
	const struct service *v = state_service_by_key(s, WEB);

	into->text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(uids); i++)
		ask_verdicts(s, state_workload_by_uid(s, uids[i]), into);
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		struct cv_addr addr = mesh_addr(addrs[i]);
		const struct workload *w = state_workload_by_addr(s, &addr);

		add(into, w ? w->name : "-");
	}
	add(into, !v ? "none" : v->endpoints_count == 1 ? "one" : "others");
	state_unref(s);
}

/* again() - all that the control plane has said up to step @last. */
static int again(struct state_builder **io, size_t last)
{
	int r = state_builder_renew(io);

	for (size_t i = 0; i <= last && r == 0; i++)
		r = make(*io, &steps[i], -1);
	return r;
}

/* run() - all steps, the @bad one first with memory for @fail_at allocations. Return: whether it
 * failed then. */
static bool run(size_t bad, long fail_at, struct answers *into)
{
	struct state_builder *b = NULL;
	bool was_short = false;

	assert_int_equal(state_builder_new("n1", &b), 0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r;

		the_memory.has_failed = false;
		r = make(b, &steps[i], i == bad ? fail_at : -1);
		was_short |= the_memory.has_failed;
		if (r < 0) {
			assert_int_equal(r, -ENOMEM);
			r = again(&b, i);
		}
		assert_int_equal(r, 0);
		ask(b, &into[i]);
	}
	state_builder_free(b);
	return was_short;
}

TEST(a_change_that_failed_can_be_made_again)
{
	static struct answers right[ARRAY_SIZE(steps)], now[ARRAY_SIZE(steps)];

	(void)run(0, -1, right);
	for (size_t bad = 0; bad < ARRAY_SIZE(steps); bad++) {
		for (long k = 0; run(bad, k, now); k++)
			for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
				if (strcmp(right[i].text, now[i].text) != 0)
					fail_msg("step %zu failed at %ld: at step %zu\n%s\n%s", bad,
						 k, i, right[i].text, now[i].text);
	}
}

/* Or it would be refused for good as one that cannot be read. */
TEST(for_want_of_memory_no_address_is_taken_for_a_wrong_one)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		uint8_t packed[MESH_PACKED_SIZE];
		struct decoded_address a = {0};
		struct decode_tables *t = NULL;
		char err[256];
		size_t len;
		int r = -ENOMEM;

		if (!steps[i].workload.name && !steps[i].service.name)
			continue;
		len = steps[i].workload.name ? mesh_pack_workload(&steps[i].workload, packed)
					     : mesh_pack_service(&steps[i].service, packed);
		for (long k = 0; r == -ENOMEM; k++) {
			assert_int_equal(decode_tables_new("", &t), 0);
			the_memory.left = k;
			r = decode_address(t, packed, len, &a, err, sizeof(err));
			the_memory.left = -1;
			decode_tables_free(t);
		}
		assert_int_equal(r, 0);
		workload_unref(a.workload);
		service_def_unref(a.service);
	}
}

/* One that cannot be read denies all that it may cover. */
TEST(for_want_of_memory_no_policy_is_taken_for_a_wrong_one)
{
	Istio__Security__Authorization m = ISTIO__SECURITY__AUTHORIZATION__INIT;
	Istio__Security__Authorization audited = ISTIO__SECURITY__AUTHORIZATION__INIT;
	Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules[] = {&rule};
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	Istio__Workload__Extension e = ISTIO__WORKLOAD__EXTENSION__INIT, *extensions[] = {&e};
	uint8_t packed[MESH_PACKED_SIZE], inner[MESH_PACKED_SIZE];
	struct policy *p = NULL;
	char err[256];
	int r = -ENOMEM;
	size_t len;

	audited.n_rules = 1;
	audited.rules = rules;
	any.value =
		(ProtobufCBinaryData){istio__security__authorization__pack(&audited, inner), inner};
	e.name = (char *)(uintptr_t)XDS_AUDIT_EXTENSION;
	e.config = &any;
	m.name = (char *)(uintptr_t) "p";
	m.namespace_ = (char *)(uintptr_t) "demo";
	m.scope = NAMESPACE;
	m.n_extensions = 1;
	m.extensions = extensions;
	len = istio__security__authorization__pack(&m, packed);
	for (long k = 0; r == -ENOMEM; k++) {
		the_memory.left = k;
		r = decode_policy("demo/p", packed, len, &p, err, sizeof(err));
		the_memory.left = -1;
		assert_true(r == 0 || !p);
	}
	assert_int_equal(r, 0);
	assert_true(p && p->action == POLICY_AUDIT);
	policy_unref(p);
	/* and of one that cannot be read, what it covers */
	r = -ENOMEM;
	p = NULL;
	memcpy(packed + len, "\x2a\x03\xff\xff\xff", 5); /* a rule that is none */
	len += 5;
	for (long k = 0; r == -ENOMEM; k++) {
		the_memory.left = k;
		r = decode_policy("demo/p", packed, len, &p, err, sizeof(err));
		the_memory.left = -1;
		assert_true(r == -ENOMEM || (r == -EBADMSG && p->scope == POLICY_NAMESPACE));
	}
	policy_unref(p);
}

TEST(for_want_of_memory_no_setting_is_taken_for_a_wrong_one)
{
	Culvert__Node__Config m = CULVERT__NODE__CONFIG__INIT;
	char *alias[] = {(char *)(uintptr_t) "old.example"};
	uint8_t packed[MESH_PACKED_SIZE];
	struct settings s = {0};
	char err[256];
	int r = -ENOMEM;
	size_t len;

	m.n_trust_domain_aliases = 1;
	m.trust_domain_aliases = alias;
	len = culvert__node__config__pack(&m, packed);
	for (long k = 0; r == -ENOMEM; k++) {
		the_memory.left = k;
		r = settings_decode(packed, len, &s, err, sizeof(err));
		the_memory.left = -1;
	}
	assert_int_equal(r, 0);
	settings_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(for_want_of_memory_no_address_is_taken_for_a_wrong_one),
		cmocka_unit_test(for_want_of_memory_no_policy_is_taken_for_a_wrong_one),
		cmocka_unit_test(for_want_of_memory_no_setting_is_taken_for_a_wrong_one),
		cmocka_unit_test(a_change_that_failed_can_be_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

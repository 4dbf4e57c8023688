/* SPDX-License-Identifier: Apache-2.0 */
/* authz - from the manifests on: random AuthorizationPolicies through the control plane's model and
 * the snapshot, beside an evaluator that reads the fields as Istio's documentation has them. */
#include "ztunnel/authz.h"

#include <arpa/inet.h>
#include <jansson.h>

#include "base/str.h"
#include "tests/unit/model/fixture.h"
#include "tests/unit/ztunnel/random_policy.h"
#include "ztunnel/decode.h"

#define SETS    400
#define CONNS   250
#define SET_MAX 5 /* policies */
#define UID     "Kubernetes//Pod/demo/a"

struct spec {
	const char *namespace_;
	json_t *json;
};

/* The evaluator. */

static bool text_hits(const char *pattern, const char *s)
{
	size_t n = strlen(pattern), len = strlen(s);

	if (streq(pattern, "*"))
		return len > 0;
	if (pattern[0] == '*')
		return len >= n - 1 && streq(s + len - (n - 1), pattern + 1);
	return pattern[n - 1] == '*' ? strncmp(s, pattern, n - 1) == 0 : streq(s, pattern);
}

static bool block_hits(const char *block, const struct ref_addr *a)
{
	char text[64];
	uint8_t net[16];
	const char *slash = strchr(block, '/');
	size_t bits = slash ? strtoul(slash + 1, NULL, 10) : a->len * 8;

	(void)snprintf(text, sizeof(text), "%.*s", slash ? (int)(slash - block) : 64, block);
	if (inet_pton(a->len == 4 ? AF_INET : AF_INET6, text, net) != 1)
		return false;
	for (size_t i = 0; i < bits; i++)
		if ((net[i / 8] ^ a->bytes[i / 8]) >> (7 - i % 8) & 1)
			return false;
	return true;
}

/* @field: its name, or the last part of a condition's key. */
static bool value_hits(const char *field, const char *value, const char *policy_ns,
		       const struct ref_conn *c)
{
	char account[128];

	if (strcasestr(field, "principal"))
		return text_hits(value, c->principal);
	if (strcasestr(field, "namespace"))
		return text_hits(value, c->namespace_);
	if (strcasestr(field, "port"))
		return strtoul(value, NULL, 10) == c->port;
	if (streq(field, "destination.ip"))
		return block_hits(value, &c->dst);
	if (strcasestr(field, "ip"))
		return block_hits(value, &c->src);
	(void)snprintf(account, sizeof(account), "%s/%s", c->namespace_, c->account);
	if (strchr(value, '/'))
		return streq(value, account);
	return streq(c->namespace_, policy_ns) && streq(c->account, value);
}

static bool list_hits(const json_t *list, const char *field, const struct spec *p,
		      const struct ref_conn *c)
{
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one)
		if (value_hits(field, json_string_value(one), p->namespace_, c))
			return true;
	return false;
}

/* A source or an operation: its fields are ANDed, one without values is as if it were not there. */
static bool member_hits(json_t *member, const struct spec *p, const struct ref_conn *c)
{
	const char *field;
	json_t *list;

	json_object_foreach (member, field, list)
		if (json_array_size(list) > 0 &&
		    list_hits(list, field, p, c) == (strncmp(field, "not", 3) == 0))
			return false;
	return true;
}

static bool any_hits(const json_t *list, const char *name, const struct spec *p,
		     const struct ref_conn *c)
{
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one)
		if (member_hits(json_object_get(one, name), p, c))
			return true;
	return json_array_size(list) == 0;
}

static bool when_hits(const json_t *when, const struct spec *p, const struct ref_conn *c)
{
	const json_t *one;
	size_t i;

	json_array_foreach (when, i, one) {
		const char *key = json_string_value(json_object_get(one, "key"));
		const json_t *yes = json_object_get(one, "values");

		if ((json_array_size(yes) > 0 && !list_hits(yes, key, p, c)) ||
		    list_hits(json_object_get(one, "notValues"), key, p, c))
			return false;
	}
	return true;
}

static bool spec_hits(const struct spec *p, const struct ref_conn *c)
{
	const json_t *rule;
	size_t i;

	json_array_foreach (json_object_get(p->json, "rules"), i, rule)
		if (any_hits(json_object_get(rule, "from"), "source", p, c) &&
		    any_hits(json_object_get(rule, "to"), "operation", p, c) &&
		    when_hits(json_object_get(rule, "when"), p, c))
			return true;
	return false;
}

/* Of the pod demo/a with the label app=a. */
static bool spec_is_for(const struct spec *p)
{
	const json_t *labels = json_object_get(
		json_object_get(json_object_get(p->json, "selector"), "matchLabels"), "app");

	return (streq(p->namespace_, "demo") || streq(p->namespace_, "istio-system")) &&
	       (!labels || streq(json_string_value(labels), "a"));
}

static bool is_allowed(const struct spec *set, size_t n, const struct ref_conn *c)
{
	bool has_allow = false, is_hit = false;

	for (size_t i = 0; i < n; i++) {
		bool is_deny =
			streq(json_string_value(json_object_get(set[i].json, "action")), "DENY");

		if (!spec_is_for(&set[i]))
			continue;
		if (is_deny && spec_hits(&set[i], c))
			return false;
		has_allow |= !is_deny;
		is_hit |= !is_deny && spec_hits(&set[i], c);
	}
	return !has_allow || is_hit;
}

/* What it is asked about. */

static const char *const principals[] = {"cluster.local/ns/demo/sa/alice",
					 "cluster.local/ns/demo/*",
					 "*/sa/bob",
					 "*",
					 "td2/*",
					 "td2/ns/de/sa/mo",
					 NULL};
static const char *const namespaces[] = {"demo", "other", "d*", "*er", "*", NULL};
static const char *const blocks[] = {"10.0.0.0/8",       "10.0.0.9",  "10.1.0.0/16", "0.0.0.0/0",
				     "192.168.7.128/25", "fd00::/32", "fd00::1",     NULL};
static const char *const ports[] = {"80", "81", "82", NULL};
static const char *const accounts[] = {"alice", "demo/bob", "other/mo", "de/alice", NULL};

static const struct {
	const char *yes, *no;
	const char *const *values;
} fields[] = {{"principals", "notPrincipals", principals},
	      {"namespaces", "notNamespaces", namespaces},
	      {"ipBlocks", "notIpBlocks", blocks},
	      {"serviceAccounts", "notServiceAccounts", accounts},
	      {"ports", "notPorts", ports}};
static const struct {
	const char *key;
	const char *const *values;
} keys[] = {{"source.principal", principals},
	    {"source.namespace", namespaces},
	    {"source.ip", blocks},
	    {"destination.ip", blocks},
	    {"destination.port", ports},
	    {"source.serviceAccount", accounts}};

static json_t *random_list(const char *const *values)
{
	json_t *list = json_array();
	size_t n = 0;

	while (values[n])
		n++;
	for (uint32_t k = 1 + random_next(2); k > 0; k--)
		(void)json_array_append_new(list, json_string(values[random_next((uint32_t)n)]));
	return list;
}

/* Of the fields from @first on: one, or another beside it, or an empty one. Service accounts go
 * with neither principals nor namespaces: Istio refuses that. */
static json_t *random_member(size_t first, size_t n)
{
	json_t *member = json_object();
	size_t at = first + random_next((uint32_t)n);

	(void)json_object_set_new(member, fields[at].yes, random_list(fields[at].values));
	if (random_next(2))
		(void)json_object_set_new(member, fields[at].no, random_list(fields[at].values));
	if (random_next(3) == 0)
		(void)json_object_del(member, json_object_size(member) == 2 ? fields[at].yes : "");
	if (at < 3 && random_next(2))
		(void)json_object_set_new(member, fields[2].no, random_list(blocks));
	if (random_next(4) == 0 && !json_object_get(member, fields[at].no))
		(void)json_object_set_new(member, fields[at].no, json_array());
	if (random_next(4) == 0 && !json_object_get(member, fields[at].yes))
		(void)json_object_set_new(member, fields[at].yes, json_array());
	return member;
}

static json_t *random_rule(void)
{
	json_t *rule = json_object(), *list;

	list = json_array();
	for (uint32_t k = random_next(3); k > 0; k--)
		(void)json_array_append_new(list,
					    json_pack("{s:o}", "source", random_member(0, 4)));
	if (json_array_size(list) > 0 || random_next(2))
		(void)json_object_set(rule, "from", list);
	json_decref(list);
	if (random_next(3) == 0)
		(void)json_object_set_new(rule, "to",
					  json_pack("[{s:o}]", "operation", random_member(4, 1)));
	if (random_next(3) == 0) {
		size_t at = random_next(ARRAY_SIZE(keys));
		uint32_t is_not = random_next(2);

		(void)json_object_set_new(rule, "when",
					  json_pack("[{s:s,s:o,s:o}]", "key", keys[at].key,
						    is_not ? "notValues" : "values",
						    random_list(keys[at].values),
						    is_not ? "values" : "notValues", json_array()));
	}
	return rule;
}

static struct spec random_spec(void)
{
	static const char *const of[] = {"demo", "demo", "istio-system", "other"};
	uint32_t is_deny = random_next(2);
	json_t *rules = json_array();
	struct spec p = {.namespace_ = of[random_next(ARRAY_SIZE(of))]};

	/* an ALLOW of nobody has no rules, a DENY some */
	for (uint32_t k = is_deny + random_next(3 - is_deny); k > 0; k--)
		(void)json_array_append_new(rules, random_rule());
	p.json = json_pack("{s:s,s:o}", "action", is_deny ? "DENY" : "ALLOW", "rules", rules);
	if (random_next(2))
		(void)json_object_set_new(
			p.json, "selector",
			json_pack("{s:{s:s}}", "matchLabels", "app", random_next(3) ? "a" : "b"));
	return p;
}

static void spec_put(struct fixture *f, const struct spec *p, size_t i)
{
	char *text = json_dumps(p->json, 0);
	char *yaml = str_format("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
				"metadata: {name: p%zu, namespace: %s}\nspec: %s\n",
				i, p->namespace_, text);

	(void)put(f, yaml);
	free(yaml);
	free(text);
}

/* All that the model made of it. */
static struct state *snapshot(struct fixture *f, struct state_builder *b)
{
	struct decode_tables *tables = NULL;
	char err[256] = "";

	assert_int_equal(decode_tables_new("", &tables), 0);
	map_for_each (f->resources[XDS_AUTHORIZATION], it) {
		const struct bytes *bytes = it.value;
		struct policy *p = NULL;

		assert_int_equal(
			decode_policy(it.key, bytes->data, bytes->len, &p, err, sizeof(err)), 0);
		assert_int_equal(state_builder_put_policy(b, p), 0);
		policy_unref(p);
	}
	map_for_each (f->resources[XDS_ADDRESS], it) {
		const struct bytes *bytes = it.value;
		struct decoded_address a = {0};

		assert_int_equal(
			decode_address(tables, bytes->data, bytes->len, &a, err, sizeof(err)), 0);
		assert_int_equal(state_builder_put_workload(b, a.workload), 0);
		workload_unref(a.workload);
	}
	decode_tables_free(tables);
	return mesh_build(b);
}

static size_t compare(const struct state *s, const struct spec *set, size_t n)
{
	size_t allowed = 0;

	for (int i = 0; i < CONNS; i++) {
		struct authz_verdict got;
		struct authz_conn conn;
		struct ref_conn c;
		char id[128];
		bool want;

		random_conn(&c, &conn, id);
		want = is_allowed(set, n, &c);
		authz_check(s, state_workload_by_uid(s, UID), &conn, &got);
		if (got.is_allowed != want) {
			for (size_t k = 0; k < n; k++)
				print_message("%s: %s\n", set[k].namespace_,
					      json_dumps(set[k].json, 0));
			fail_msg("%s, port %u: wanted %d, got %d (%s, %s)", c.principal, c.port,
				 want, got.is_allowed, got.policy, got.reason);
		}
		allowed += want;
	}
	return allowed;
}

static void manifests_mean_what_the_documentation_says(void **state)
{
	size_t allowed = 0;

	for (int i = 0; i < SETS; i++) {
		void *fixture = NULL;
		struct spec set[SET_MAX];
		struct state_builder *b = NULL;
		size_t n = 1 + random_next(SET_MAX);
		struct state *s;

		assert_int_equal(fixture_setup(&fixture), 0);
		(void)put(fixture, NS("demo", "{istio.io/dataplane-mode: ambient}")
					   POD("demo", "a", "{app: a}", "{nodeName: n1}",
					       "{podIP: 10.0.0.1, phase: Running}"));
		for (size_t k = 0; k < n; k++) {
			set[k] = random_spec();
			spec_put(fixture, &set[k], k);
		}
		assert_int_equal(state_builder_new("n1", &b), 0);
		s = snapshot(fixture, b);
		allowed += compare(s, set, n);
		state_unref(s);
		state_builder_free(b);
		for (size_t k = 0; k < n; k++)
			json_decref(set[k].json);
		(void)fixture_teardown(&fixture);
	}
	/* both answers come often enough for the comparison to mean something */
	assert_true(allowed > SETS * CONNS / 10 && allowed < SETS * CONNS * 9ULL / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manifests_mean_what_the_documentation_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

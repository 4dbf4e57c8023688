/* SPDX-License-Identifier: Apache-2.0 */
/* model - whatever comes, changes and goes in whichever order, what clients hold and what is said
 * of each object is in the end what a model makes that has been given the last state alone. */
#include "tests/unit/model/fixture.h"

#define ROUNDS  400
#define CHANGES 60

/** struct world - a model, what clients hold of it and what stands with the user. */
struct world {
	struct fixture f; /* its ops are given this */
	struct map *said; /* "kind ns/name" -> its messages, malloc'ed */
};

/** struct settings - of the mesh, beside its objects. */
struct settings {
	bool is_registry_only;
	int aliases, visibility;
};

static unsigned int seed;
static char text[8192];

static int chance(int n)
{
	return (int)((unsigned int)rand_r(&seed) % (unsigned int)n);
}

static const char *one_of(const char *const *list, size_t n)
{
	return list[chance((int)n)];
}

#define ONE_OF(...)                                                                                \
	one_of((const char *const[]){__VA_ARGS__}, ARRAY_SIZE(((const char *const[]){__VA_ARGS__})))

/* JSON with ' for ". */
static void add(const char *fmt, ...) _printf_(1, 2);
static void add(const char *fmt, ...)
{
	size_t n = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	for (char *p = text + n; *p; p++)
		if (*p == '\'')
			*p = '"';
}

static const char *labels(void)
{
	return ONE_OF("{}", "{'app': 'a'}", "{'app': 'b'}", "{'app': 'a', 'v': 'x'}",
		      "{'app': 'b', 'v': 'x'}", "{'v': 'y'}",
		      "{'app': 'a', 'networking.istio.io/tunnel': 'http'}",
		      "{'app': 'b', 'istio.io/dataplane-mode': 'none'}");
}

static const char *addr(void)
{
	return ONE_OF("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "fd00::1", "fd00::2");
}

static const char *node(void)
{
	return ONE_OF("n1", "n2");
}

static const char *host(void)
{
	return ONE_OF("h1.com", "h2.com", "*.w.com", "s1.a.svc.cluster.local",
		      "s2.b.svc.cluster.local");
}

static const char *since(void)
{
	return ONE_OF("", ", 'creationTimestamp': '2026-01-01T00:00:00Z'",
		      ", 'creationTimestamp': '2026-01-02T00:00:00Z'");
}

static void add_pod(void)
{
	add("'spec': {'serviceAccountName': '%s'", ONE_OF("x", "y"));
	if (chance(4))
		add(", 'nodeName': '%s'", node());
	if (chance(6) == 0)
		add(", 'hostNetwork': true");
	add(", 'containers': [{'name': 'c', 'ports': [{'name': 'web', 'containerPort': %d%s}]}]}",
	    80 + chance(2), ONE_OF("", ", 'hostPort': 8080"));
	add(", 'status': {'phase': '%s'", ONE_OF("Running", "Running", "Pending", "Succeeded"));
	if (chance(4))
		add(", 'podIPs': [{'ip': '%s'}, {'ip': '%s'}]", addr(), addr());
	add(", 'conditions': [{'type': 'Ready', 'status': '%s'}]}",
	    ONE_OF("True", "True", "False"));
}

static void add_service(void)
{
	add("'spec': {'ports': [{'name': 'web', 'port': 80%s}, {'name': 'more', 'port': 81}]",
	    ONE_OF("", ", 'targetPort': 'web'", ", 'targetPort': 8080"));
	if (chance(3))
		add(", 'selector': %s", labels());
	if (chance(2))
		add(", 'clusterIPs': ['10.96.0.%d']", 1 + chance(4));
	if (chance(5) == 0)
		add(", 'type': 'ExternalName', 'externalName': 'h1.com'");
	if (chance(4) == 0)
		add(", 'publishNotReadyAddresses': true");
	if (chance(4) == 0)
		add(", 'trafficDistribution': 'PreferClose'");
	add("}");
}

static void add_endpoint(void)
{
	add("{'addresses': ['%s', '%s'], 'conditions': {'ready': %s}, 'nodeName': '%s'", addr(),
	    addr(), ONE_OF("true", "true", "false", "null"), node());
	if (chance(2))
		add(", 'targetRef': {'kind': 'Pod', 'name': '%s'}", ONE_OF("x1", "x2", "x3"));
	add("}");
}

static void add_slice(void)
{
	add("'addressType': 'IPv4', 'ports': [{'name': 'web', 'port': %d}], 'endpoints': [",
	    80 + chance(2));
	for (int i = chance(4); i > 0; i--) {
		add_endpoint();
		add("%s", i > 1 ? ", " : "");
	}
	add("]");
}

static const char *mode(void)
{
	return ONE_OF("STRICT", "PERMISSIVE", "UNSET", "DISABLE");
}

static void add_peer(void)
{
	add("'spec': {'mtls': {'mode': '%s'}", mode());
	if (chance(2))
		add(", 'selector': {'matchLabels': %s}, 'portLevelMtls': {'80': {'mode': '%s'}}",
		    labels(), mode());
	add("}");
}

static void add_policy(void)
{
	add("'spec': {'action': '%s'", ONE_OF("ALLOW", "DENY", "AUDIT", "CUSTOM"));
	if (chance(2))
		add(", 'selector': {'matchLabels': %s}", labels());
	else if (chance(6) == 0)
		add(", 'targetRefs': [{'kind': 'Service', 'name': 's1'}]");
	add(", 'rules': [{'from': [{'source': {'principals': ['%s']}}], 'to': [{'operation': "
	    "{%s}}]}]}",
	    ONE_OF("cluster.local/ns/a/sa/x", "old/ns/a/sa/x", "*"),
	    ONE_OF("'ports': ['80']", "'methods': ['GET']"));
}

static void add_endpoints_of_entry(void)
{
	add(", 'endpoints': [{'address': '%s', 'labels': {}}, {'address': '%s'}, {'network': "
	    "'n2'}]",
	    ONE_OF("10.0.0.1", "10.0.0.3", "10.9.0.1", "h3.com"), addr());
}

static void add_service_entry(void)
{
	add("'spec': {'hosts': ['%s'%s], 'ports': [{'number': 80, 'name': 'web', 'protocol': "
	    "'%s'}], 'resolution': '%s'",
	    host(), ONE_OF("", ", 'h3.com'"), ONE_OF("TCP", "HTTP"),
	    ONE_OF("NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN"));
	if (chance(3) == 0)
		add(", 'addresses': ['10.8.0.%d']", 1 + chance(3));
	if (chance(3) == 0)
		add_endpoints_of_entry();
	else if (chance(2))
		add(", 'workloadSelector': {'labels': %s}", labels());
	if (chance(3) == 0)
		add(", 'exportTo': [%s]", ONE_OF("'.'", "'*'", "'b'", "'~'"));
	add("}");
}

static void add_workload_entry(void)
{
	add("'spec': {'labels': %s", labels());
	if (chance(5))
		add(", 'address': '%s'", ONE_OF("10.0.0.1", "10.0.0.2", "10.9.0.2", "h4.com"));
	else
		add(", 'network': 'n2'");
	if (chance(2))
		add(", 'ports': {'web': 8081}");
	add("}");
}

static void add_workload_group(void)
{
	add("'spec': {'metadata': {'labels': %s}, 'template': {'serviceAccount': '%s', 'ports': "
	    "{'web': 8082}}}",
	    labels(), ONE_OF("x", "y"));
}

static void add_telemetry(void)
{
	add("'spec': {'accessLogging': [{'disabled': %s}]", ONE_OF("true", "false"));
	if (chance(2))
		add(", 'selector': {'matchLabels': %s}", labels());
	add("}");
}

static void add_node(void)
{
	add("'status': {'addresses': [{'type': 'InternalIP', 'address': '192.168.0.%d'}]}",
	    1 + chance(2));
}

static void add_nothing(void)
{
	add("'spec': {}");
}

/** struct kind - what is drawn of one. */
static const struct kind {
	const char *name;
	int weight;
	bool is_of_cluster, is_of_security;
	void (*add)(void);
} kinds[] = {
	{"Pod", 6, false, false, add_pod},
	{"Service", 4, false, false, add_service},
	{"EndpointSlice", 4, false, false, add_slice},
	{"Namespace", 2, true, false, add_nothing},
	{"Node", 1, true, false, add_node},
	{"PeerAuthentication", 2, false, true, add_peer},
	{"AuthorizationPolicy", 2, false, true, add_policy},
	{"ServiceEntry", 5, false, false, add_service_entry},
	{"WorkloadEntry", 3, false, false, add_workload_entry},
	{"WorkloadGroup", 1, false, false, add_workload_group},
	{"Telemetry", 1, false, false, add_telemetry},
};

static const struct kind *random_kind(void)
{
	int at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		at += kinds[i].weight;
	at = chance(at);
	for (size_t i = 0;; i++) {
		at -= kinds[i].weight;
		if (at < 0)
			return &kinds[i];
	}
}

static const char *random_name(const struct kind *k)
{
	if (streq(k->name, "Namespace"))
		return ONE_OF("a", "b", "istio-system");
	if (streq(k->name, "Node"))
		return node();
	if (streq(k->name, "Service"))
		return ONE_OF("s1", "s2");
	return ONE_OF("x1", "x2", "x3");
}

static void add_metadata(const struct kind *k, const char *ns)
{
	add("'metadata': {'name': '%s', 'namespace': '%s'%s", random_name(k), ns, since());
	if (streq(k->name, "EndpointSlice"))
		add(", 'labels': {%s}", ONE_OF("", "'kubernetes.io/service-name': 's1'",
					       "'kubernetes.io/service-name': 's1'",
					       "'kubernetes.io/service-name': 's2'"));
	else if (streq(k->name, "Namespace"))
		add(", 'labels': {%s}",
		    ONE_OF("", "'istio.io/dataplane-mode': 'ambient'", "'team': 'x'"));
	else if (streq(k->name, "Node"))
		add(", 'labels': {%s}", ONE_OF("", "'topology.kubernetes.io/zone': 'z1'",
					       "'topology.kubernetes.io/zone': 'z2'"));
	else if (chance(2))
		add(", 'labels': %s", labels());
	if (streq(k->name, "WorkloadEntry") && chance(2))
		add(", 'annotations': {'istio.io/autoRegistrationGroup': '%s'}",
		    ONE_OF("x1", "x2"));
	else if (streq(k->name, "Pod") && chance(8) == 0)
		add(", 'annotations': {'sidecar.istio.io/status': 'x'}");
	else if (chance(6) == 0)
		add(", 'annotations': {'networking.istio.io/exportTo': '%s'}",
		    ONE_OF(".", "b", "~"));
	else if (chance(6) == 0)
		add(", 'annotations': {'networking.istio.io/traffic-distribution': '%s'}",
		    ONE_OF("PreferClose", "PreferSameNode"));
	add("}");
}

static struct object *random_object(struct json_pool *pool)
{
	const struct kind *k = random_kind();
	const char *ns = k->is_of_cluster ? "" : ONE_OF("a", "a", "b", "istio-system");
	struct object_init init = {.kind = k->name, .namespace_ = ns};
	struct object *o = NULL;

	text[0] = '\0';
	add("{'kind': '%s', ", k->name);
	add_metadata(k, ns);
	add(", ");
	k->add();
	add("}");
	init.body = json_loads(text, 0, NULL);
	if (!init.body)
		fail_msg("no JSON: %s", text);
	init.name =
		json_string_value(json_object_get(json_object_get(init.body, "metadata"), "name"));
	init.is_invalid = k->is_of_security && chance(8) == 0;
	assert_int_equal(object_new(&init, &o), 0);
	assert_int_equal(object_reduce(o, pool), 0);
	return o;
}

static void object_name(char *buf, size_t size, const char *kind, const char *ns, const char *name)
{
	(void)snprintf(buf, size, "%s %s/%s", kind, ns, name);
}

static void on_error(void *arg, const struct source_error *err)
{
	struct world *w = arg;
	char key[256], *all = NULL;
	const char *old;

	object_name(key, sizeof(key), err->kind, err->namespace_, err->name);
	old = map_get_str(w->said, key);
	assert_true(asprintf(&all, "%s%s: %s\n", old ? old : "", err->field, err->message) > 0);
	free((void *)(uintptr_t)old);
	assert_int_equal(map_put_str(w->said, key, all), 0);
}

static void on_error_cleared(void *arg, const char *kind, const char *ns, const char *name)
{
	struct world *w = arg;
	char key[256];

	object_name(key, sizeof(key), kind, ns, name);
	free(map_del_str(w->said, key));
}

static const struct model_ops world_ops = {
	.on_resource = fixture_resource,
	.on_removed = fixture_removed,
	.on_error = on_error,
	.on_error_cleared = on_error_cleared,
};

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	for (int i = 0; i < XDS_TYPE_MAX; i++)
		assert_int_equal(map_new(&w->f.resources[i]), 0);
	assert_int_equal(map_new(&w->said), 0);
	assert_int_equal(json_pool_new(&w->f.pool), 0);
	assert_int_equal(model_new(&world_ops, w, NULL, &w->f.model), 0);
	return w;
}

static void world_free(struct world *w)
{
	void *f = &w->f;

	map_for_each (w->said, it)
		free(it.value);
	(void)map_free(w->said);
	(void)fixture_teardown(&f);
}

static void set(struct world *w, const struct settings *s)
{
	static const char *const names
		[] = {"old", "older"},
	   *const rules[] = {
		   NULL, "{\"defaultVisibility\": \"NAMESPACE\"}",
		   "{\"policies\": [{\"matchingRules\": [{\"namespaceSelector\": {\"matchLabels\": "
		   "{\"team\": \"x\"}}}], \"visibility\": \"NONE\"}]}"};
	_cleanup_(json_decrefp) json_t *r =
		rules[s->visibility] ? json_loads(rules[s->visibility], 0, NULL) : NULL;

	assert_int_equal(model_set_registry_only(w->f.model, s->is_registry_only), 0);
	assert_int_equal(model_set_trust_domain_aliases(w->f.model, names, (size_t)s->aliases), 0);
	model_set_entry_visibility(w->f.model, r);
}

static void flush(struct world *w)
{
	w->f.text[0] = '\0';
	assert_int_equal(model_flush(w->f.model), 0);
}

static void change(struct world *w, struct map *last, struct settings *s)
{
	struct object *o = random_object(w->f.pool);
	char key[256];

	object_name(key, sizeof(key), o->kind, o->namespace_, o->name);
	if (chance(20) == 0) {
		*s = (struct settings){chance(2), chance(3), chance(3)};
		set(w, s);
	}
	(void)object_unref(map_del_str(last, key));
	if (chance(3) == 0) {
		assert_int_equal(model_delete(w->f.model, o), 0);
		(void)object_unref(o);
	} else {
		assert_int_equal(model_put(w->f.model, o), 0);
		assert_int_equal(map_put_str(last, key, o), 0);
	}
	if (chance(3) == 0)
		flush(w);
}

static void said_compare(const struct world *a, const struct world *b, int round)
{
	map_for_each (a->said, it) {
		const char *other = map_get_str(b->said, it.key);

		if (!other || strcmp(other, it.value) != 0)
			fail_msg("round %d: of %s is said:\n%sbut by the other:\n%s", round,
				 (const char *)it.key, (char *)it.value, other ? other : "nothing");
	}
}

static void resources_compare(const struct world *a, const struct world *b, int round)
{
	for (int type = 0; type < XDS_TYPE_MAX; type++)
		map_for_each (a->f.resources[type], it) {
			const struct bytes *x = it.value,
					   *y = map_get_str(b->f.resources[type], it.key);

			if (!y || x->len != y->len || memcmp(x->data, y->data, x->len) != 0)
				fail_msg("round %d: %s is %s", round, (const char *)it.key,
					 y ? "another" : "not there");
		}
}

static void world_compare(const struct world *a, const struct world *b, int round)
{
	resources_compare(a, b, round);
	resources_compare(b, a, round);
	said_compare(a, b, round);
	said_compare(b, a, round);
}

/* All at once, in no order that anything came in. */
static void put_all(struct world *w, const struct map *objects)
{
	map_for_each (objects, it) {
		assert_int_equal(model_put(w->f.model, it.value), 0);
		(void)object_unref(it.value);
	}
}

static void what_came_before_leaves_no_trace(void **state)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct world *w = world_new(), *fresh = world_new();
		struct settings s = {0};
		struct map *last = NULL;

		seed = (unsigned int)round;
		assert_int_equal(map_new(&last), 0);
		for (int i = 0; i < CHANGES; i++)
			change(w, last, &s);
		flush(w);
		set(fresh, &s);
		put_all(fresh, last);
		flush(fresh);
		world_compare(w, fresh, round);
		(void)map_free(last);
		world_free(w);
		world_free(fresh);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_came_before_leaves_no_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* mesh_config - what is read of it, and mistakes told with their line in the manifest. */
#include "source/mesh_config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/loop.h"
#include "source/manifest.h"

#define MAP                                                                                        \
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"      \
	"data:\n  mesh: |\n"

struct reading {
	struct mesh_config mesh;
	char text[1024];
	int r;
};

static void on_error(void *arg, const struct source_error *err)
{
	struct reading *x = arg;
	size_t n = strlen(x->text);

	(void)snprintf(x->text + n, sizeof(x->text) - n, "%u: %s: %s\n", err->line, err->field,
		       err->message);
}

static int on_item(void *arg, const struct manifest_item *item)
{
	struct reading *x = arg;

	assert_non_null(item->object);
	x->r = mesh_config_read(item->object, on_error, x, &x->mesh);
	return 0;
}

static int on_manifest_error(void *arg, const struct source_error *err)
{
	fail_msg("%s: %s", err->field, err->message);
	return 0;
}

static const char *read_text(struct reading *x, const char *yaml)
{
	static const struct manifest_ops ops = {.on_item = on_item, .on_error = on_manifest_error};
	const struct manifest_text in = {.file = "f.yaml", .text = yaml, .len = strlen(yaml)};
	bool is_complete;

	x->text[0] = '\0';
	assert_int_equal(manifest_parse(&in, &ops, x, &is_complete), 0);
	return x->text;
}

static void what_is_used_is_read(void **state)
{
	struct reading x = {0};

	assert_string_equal(
		read_text(&x,
			  MAP "    trustDomain: td.example\n    trustDomainAliases: [old, a.b]\n"
			      "    rootNamespace: root\n    accessLogFile: /dev/stdout\n"
			      "    outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n"
			      "    discoverySelectors:\n    - matchLabels: {mesh: enabled}\n"
			      "    - matchExpressions: [{key: x, operator: In, values: [y]}]\n"
			      "    serviceEntryVisibility: {defaultVisibility: NAMESPACE, "
			      "applyToSidecars: true, policies: [{visibility: PUBLIC, "
			      "matchingRules: [{namespaceSelector: {matchLabels: {a: b}}}]}]}\n"
			      "    enableTracing: true\n    defaultConfig: "
			      "{terminationDrainDuration: 1m1.5s}\n"),
		"");
	assert_int_equal(x.r, 0);
	assert_string_equal(x.mesh.trust_domain, "td.example");
	assert_string_equal(x.mesh.root_namespace, "root");
	assert_string_equal(x.mesh.access_log_file, "/dev/stdout");
	assert_int_equal(json_array_size(x.mesh.trust_domain_aliases), 2);
	assert_true(x.mesh.is_registry_only);
	assert_true(x.mesh.has_drain);
	assert_int_equal(x.mesh.drain_ms, 61500);
	assert_int_equal(json_array_size(x.mesh.discovery_selectors), 2);
	assert_int_equal(json_object_size(x.mesh.entry_visibility), 3);
	/* nothing said, nothing set */
	assert_string_equal(read_text(&x, MAP "    enableTracing: true\n"), "");
	assert_null(x.mesh.trust_domain);
	assert_null(x.mesh.entry_visibility);
	assert_false(x.mesh.is_registry_only);
	assert_false(x.mesh.has_drain);
	mesh_config_clear(&x.mesh);
}

static void mistakes_are_told_and_change_nothing(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"    trustDomain: A_B\n", "6: data.mesh.trustDomain: expected a trust domain"},
		{"    trustDomain: a\n    outboundTrafficPolicy:\n      mode: NONE\n",
		 "8: data.mesh.outboundTrafficPolicy.mode: expected one of ALLOW_ANY"},
		{"    outboundTrafficPolicy: {mod: ALLOW_ANY}\n",
		 "6: data.mesh.outboundTrafficPolicy.mod: unknown field"},
		/* which may be stricter than what it would be taken for */
		{"    outboundTrafficPolicy: {mode: REGISTRY_ONLY_DYNAMIC_DNS}\n",
		 "6: data.mesh.outboundTrafficPolicy.mode: expected one of"},
		{"    outboundTrafficPolicy: {mode: null, egress: {}}\n",
		 "6: data.mesh.outboundTrafficPolicy.egress: unknown field"},
		{"    trustDomainAliases: a\n", "6: data.mesh.trustDomainAliases: expected a list"},
		{"    discoverySelectors: [{matchExpressions: [{key: a, operator: Is}]}]\n",
		 "6: data.mesh.discoverySelectors[0].matchExpressions[0].operator: expected one "
		 "of"},
		{"    discoverySelectors: [{labels: {a: b}}]\n",
		 "6: data.mesh.discoverySelectors[0].labels: unknown field"},
		/* one that is not known may be stricter; a rule that is not read, the only one */
		{"    serviceEntryVisibility: {defaultVisibility: SECRET}\n",
		 "6: data.mesh.serviceEntryVisibility.defaultVisibility: expected one of"},
		{"    serviceEntryVisibility: {default: NONE}\n",
		 "6: data.mesh.serviceEntryVisibility.default: unknown field"},
		{"    serviceEntryVisibility: {policies: [{visibility: PUBLIC, rules: []}]}\n",
		 "6: data.mesh.serviceEntryVisibility.policies[0].rules: unknown field"},
		{"    serviceEntryVisibility: {policies: [{matchingRules: [{hostnames: []}]}]}\n",
		 "6: data.mesh.serviceEntryVisibility.policies[0].matchingRules[0].hostnames: "
		 "unknown"},
		{"    rootNamespace: [a]\n", "6: data.mesh.rootNamespace: expected a namespace"},
		{"    - a\n", "6: data.mesh: expected a mapping"},
		{"    a: b\n    c: {\n", "data.mesh: "},
		{"    trustDomain: other\n    ---\n    trustDomain: b\n",
		 "8: data.mesh: expected one document"},
		{"    trustDomain: other\n    ---\n    a: {\n", "data.mesh: "},
		{"    a: 1\n    a: 2\n", "7: data.mesh: "},
	};
	struct reading x = {0};

	(void)read_text(&x, MAP "    trustDomain: good\n");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char yaml[512];

		(void)snprintf(yaml, sizeof(yaml), MAP "%s", cases[i].text);
		if (!strstr(read_text(&x, yaml), cases[i].message))
			fail_msg("%zu: %s", i, x.text);
		assert_int_equal(x.r, -EINVAL);
		assert_string_equal(x.mesh.trust_domain, "good");
	}
	mesh_config_clear(&x.mesh);
}

static void what_layer_4_does_not_honour_is_named_and_the_rest_counts(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"    connectTimeout: 3s\n",
		 "7: data.mesh.connectTimeout: not honoured: 10 s hold"},
		{"    accessLogEncoding: JSON\n", "LOG_FORMAT=json"},
		{"    meshMTLS: {ecdhCurves: [P-521]}\n", "X25519, P-256 and P-384 hold"},
		{"    enableAutoMtls: false\n", "both ends are in the mesh"},
		{"    enableAutoMtls: true\n", ""},
		{"    dnsRefreshRate: 5s\n", "when its time to live is over"},
		{"    defaultConfig:\n      concurrency: 2\n",
		 "8: data.mesh.defaultConfig.concurrency: not honoured: a node's pods share one"},
		{"    defaultConfig: {holdApplicationUntilProxyStarts: true}\n", "not honoured"},
		{"    defaultConfig: {drainDuration: 5s}\n",
		 "terminationDrainDuration is honoured"},
		{"    defaultConfig: {tracing: {}}\n", "no spans"},
		{"    defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"false\"}}\n",
		 "ambient.istio.io/dns-capture"},
		/* what a later version may say besides */
		{"    outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}\n",
		 "7: data.mesh.outboundTrafficPolicy.mode: as ALLOW_ANY: "},
		{"    outboundTrafficPolicy:\n      mode: ALLOW_ANY\n      tls: {mode: SIMPLE}\n",
		 "9: data.mesh.outboundTrafficPolicy.tls: not honoured: "},
		{"    outboundTrafficPolicy: {mode: REGISTRY_ONLY, egressProxy: {host: a}}\n",
		 "7: data.mesh.outboundTrafficPolicy.egressProxy: unknown field, left out: "},
		{"    outboundTrafficPolicy: {}\n", ""},
		/* what opens and closes nothing */
		{"    defaultConfig: {terminationDrainDuration: 5}\n",
		 "7: data.mesh.defaultConfig.terminationDrainDuration: left out: expected a"},
		{"    defaultConfig: {terminationDrainDuration: 5 s}\n", "expected a duration"},
		{"    defaultConfig: {terminationDrainDuration: 25h}\n", "expected a duration"},
		{"    defaultConfig: {terminationDrainDuration: -5s}\n", "expected a duration"},
		{"    defaultConfig: {proxyMetadata: a}\n", "left out: expected a mapping"},
		{"    defaultConfig: []\n", "7: data.mesh.defaultConfig: left out: expected a"},
		/* what is done anyway, and what an installation of Istio always has */
		{"    accessLogEncoding: TEXT\n", ""},
		{"    defaultConfig: {holdApplicationUntilProxyStarts: false}\n", ""},
		{"    defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\"}}\n", ""},
		{"    enablePrometheusMerge: true\n    defaultConfig: {discoveryAddress: a}\n", ""},
	};
	struct reading x = {0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char yaml[512];

		(void)snprintf(yaml, sizeof(yaml), MAP "    trustDomain: good\n%s", cases[i].text);
		x.r = -EINVAL;
		if (!strstr(read_text(&x, yaml), cases[i].message) ||
		    (!*cases[i].message && x.text[0]))
			fail_msg("%zu: %s", i, x.text);
		assert_int_equal(x.r, 0);
		assert_string_equal(x.mesh.trust_domain, "good");
		assert_int_equal(x.mesh.is_registry_only,
				 strstr(cases[i].text, "REGISTRY_ONLY") != NULL);
		assert_false(x.mesh.has_drain);
	}
	mesh_config_clear(&x.mesh);
}

/** struct folder - one with a mesh.yaml in it, and a loop that follows it. */
struct folder {
	struct loop *loop;
	struct loop_timer timer;
	char dir[64], path[96];
	const char *const *texts; /* what is written, one at each tick; NULL ends: the loop too */
	struct reading x;
};

static void put_text(const struct folder *f, const char *text)
{
	FILE *file = fopen(f->path, "w");

	assert_non_null(file);
	(void)fputs(text, file);
	(void)fclose(file);
}

static void on_tick(struct loop_timer *t)
{
	struct folder *f = container_of(t, struct folder, timer);

	if (!*f->texts) {
		loop_stop(f->loop, 0);
		return;
	}
	put_text(f, *f->texts++);
	assert_int_equal(loop_timer_set(f->loop, t, 200000), 0);
}

static int set_up(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	assert_int_equal(loop_new(&f->loop), 0);
	(void)strcpy(f->dir, "/tmp/test-mesh-config.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/mesh.yaml", f->dir);
	f->timer.on_timer = on_tick;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct folder *f = *state;

	loop_timer_del(&f->timer);
	(void)loop_free(f->loop);
	mesh_config_clear(&f->x.mesh);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static int find(struct folder *f, const char *namespace_)
{
	const struct mesh_config_search search = {.loop = f->loop,
						  .folder = f->dir,
						  .namespace_ = namespace_,
						  .on_error = on_error,
						  .arg = &f->x};

	return mesh_config_find(&search, &f->x.mesh);
}

static void it_is_found_in_a_folder(void **state)
{
	struct folder *f = *state;

	assert_int_equal(find(f, "istio-system"), 0);
	assert_null(f->x.mesh.trust_domain);
	put_text(f, MAP "    trustDomain: td.example\n");
	assert_int_equal(find(f, "istio-system"), 0);
	assert_string_equal(f->x.mesh.trust_domain, "td.example");
	mesh_config_clear(&f->x.mesh);
	assert_int_equal(find(f, "other"), 0);
	assert_null(f->x.mesh.trust_domain);
}

/* It would sign for another trust domain, and open what was closed. */
static void one_with_a_mistake_is_waited_for_until_it_is_mended(void **state)
{
	static const char *const texts[] = {
		MAP "    trustDomain: Td_Example\n",
		MAP "    trustDomain: td.example\n    accessLogFile: [\n",
		MAP "    trustDomain: td.example\n",
		NULL,
	};
	struct folder *f = *state;

	put_text(f, MAP "    outboundTrafficPolicy: {mode: REGISTRY_ONY}\n");
	f->texts = texts;
	assert_int_equal(loop_timer_set(f->loop, &f->timer, 100000), 0);
	assert_int_equal(find(f, "istio-system"), 0);
	assert_null(*f->texts);
	assert_string_equal(f->x.mesh.trust_domain, "td.example");
	assert_non_null(strstr(f->x.text, "6: data.mesh.outboundTrafficPolicy.mode: "));
	assert_non_null(strstr(f->x.text, "6: data.mesh.trustDomain: "));
}

/* Also where the file cannot be taken apart at all, and so nobody knows what it is. */
static void a_file_that_may_hold_it_is_waited_for(void **state)
{
	static const char *const texts[] = {
		"kind: ConfigMap\nmetadata: {name: [istio, mesh]}\n",
		"kind: ConfigMap\nmetadata: {name: istio, namespace: [istio-system, mesh]}\n",
		MAP "    trustDomain: td.example\n",
		NULL,
	};
	struct folder *f = *state;

	put_text(f, MAP "    trustDomain: td.example\nx: [\n");
	f->texts = texts;
	assert_int_equal(loop_timer_set(f->loop, &f->timer, 100000), 0);
	assert_int_equal(find(f, "istio-system"), 0);
	assert_null(*f->texts);
	assert_string_equal(f->x.mesh.trust_domain, "td.example");
	assert_non_null(strstr(f->x.text, "metadata.name: "));
	assert_non_null(strstr(f->x.text, "metadata.namespace: "));
}

static void what_cannot_be_it_keeps_nobody_waiting(void **state)
{
	static const char *const texts[] = {
		"kind: ConfigMap\nmetadata: {name: [a]}\n",
		"kind: Service\nmetadata: {name: [istio]}\n# ConfigMap mesh\n",
		"kind: ConfigMap\nmetadata: {name: istio, namespace: other}\nmesh: 1\n",
	};
	struct folder *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		put_text(f, texts[i]);
		assert_int_equal(find(f, "istio-system"), 0);
		assert_null(f->x.mesh.trust_domain);
	}
}

static void who_is_told_to_stop_waits_no_longer(void **state)
{
	static const char *const none[] = {NULL};
	struct folder *f = *state;

	put_text(f, MAP "    trustDomain: Td_Example\n");
	f->texts = none;
	assert_int_equal(loop_timer_set(f->loop, &f->timer, 100000), 0);
	assert_int_equal(find(f, "istio-system"), -EINTR);
	assert_null(f->x.mesh.trust_domain);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_used_is_read),
		cmocka_unit_test(mistakes_are_told_and_change_nothing),
		cmocka_unit_test(what_layer_4_does_not_honour_is_named_and_the_rest_counts),
		T(it_is_found_in_a_folder),
		T(one_with_a_mistake_is_waited_for_until_it_is_mended),
		T(a_file_that_may_hold_it_is_waited_for),
		T(what_cannot_be_it_keeps_nobody_waiting),
		T(who_is_told_to_stop_waits_no_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

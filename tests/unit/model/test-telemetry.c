/* SPDX-License-Identifier: Apache-2.0 */
/* telemetry - mesh, namespace, workload: the narrowest that says something counts; what layer 4 has
 * no use for is named. */
#include "base/str.h"
#include "tests/unit/model/fixture.h"
#include "userspace/lib/xds/node.pb-c.h"

#define TELEMETRY(ns, name, spec)                                                                  \
	"apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: " name               \
	", namespace: " ns "}\nspec: " spec "\n---\n"
#define PODS                                                                                       \
	POD("demo", "p", "{app: a}", "{}", "{podIP: 10.0.0.1}")                                    \
	POD("demo", "q", "{app: b}", "{}", "{podIP: 10.0.0.2}")                                    \
	POD("other", "r", "{app: a}", "{}", "{podIP: 10.0.0.3}")
#define OFF "{accessLogging: [{disabled: true}]}"

static char said[512];

static void say_side(const char *name, const Culvert__Node__Telemetry *t)
{
	static const char *const words[] = {"", " log", " no-log"};
	size_t n = strlen(said);

	if (!t)
		return;
	n += (size_t)snprintf(said + n, sizeof(said) - n, "%s%s:%s", n ? " " : "", name,
			      words[t->access_log]);
	if (*t->log_filter)
		n += (size_t)snprintf(said + n, sizeof(said) - n, " if %s", t->log_filter);
	if (t->metrics_off)
		n += (size_t)snprintf(said + n, sizeof(said) - n, " off=%u", t->metrics_off);
	for (size_t i = 0; i < t->n_tags; i++)
		n += (size_t)snprintf(said + n, sizeof(said) - n, " %s%s%s",
				      t->tags[i]->is_removed ? "-" : "", t->tags[i]->name,
				      t->tags[i]->is_removed ? "" : "=");
	for (size_t i = 0; i < t->n_tags; i++)
		n += (size_t)snprintf(said + n, sizeof(said) - n, "%s%s", t->tags[i]->value,
				      t->tags[i]->expression);
	for (size_t i = 0; i < t->n_tags; i++)
		if (t->tags[i]->metrics)
			n += (size_t)snprintf(said + n, sizeof(said) - n, " of=%u",
					      t->tags[i]->metrics);
}

/* "client: no-log off=3 -tag tag=value server: ..." of a pod; "" for nothing. */
static const char *said_of(struct fixture *f, const char *pod)
{
	const Istio__Workload__Workload *w = workload(f, pod);
	Culvert__Node__Workload *x;

	said[0] = '\0';
	assert_non_null(w);
	if (w->n_extensions == 0)
		return said;
	x = culvert__node__workload__unpack(NULL, w->extensions[0]->config->value.len,
					    w->extensions[0]->config->value.data);
	assert_non_null(x);
	say_side("client", x->client);
	say_side("server", x->server);
	culvert__node__workload__free_unpacked(x, NULL);
	return said;
}

static void the_narrowest_scope_counts_and_a_change_reaches_its_pods(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS);
	assert_string_equal(said_of(f, "demo/p"), "");
	(void)put(f, TELEMETRY("istio-system", "mesh", OFF));
	assert_string_equal(said_of(f, "demo/p"), "client: no-log server: no-log");
	assert_string_equal(said_of(f, "other/r"), "client: no-log server: no-log");
	(void)put(f, TELEMETRY("demo", "ns", "{accessLogging: [{match: {mode: CLIENT}}]}"));
	assert_string_equal(said_of(f, "demo/p"), "client: log server: no-log");
	assert_string_equal(said_of(f, "other/r"), "client: no-log server: no-log");
	(void)put(f, TELEMETRY("demo", "one",
			       "{selector: {matchLabels: {app: a}}, accessLogging: "
			       "[{match: {mode: SERVER}, disabled: false}]}"));
	assert_string_equal(said_of(f, "demo/p"), "client: log server: log");
	assert_string_equal(said_of(f, "demo/q"), "client: log server: no-log");
	(void)drop(f, "Telemetry", "istio-system", "mesh");
	(void)drop(f, "Telemetry", "demo", "one");
	assert_string_equal(said_of(f, "demo/p"), "client: log");
	(void)drop(f, "Telemetry", "demo", "ns");
	assert_string_equal(said_of(f, "demo/p"), "");
}

static void metrics_are_hidden_and_tags_changed(void **state)
{
	struct fixture *f = *state;

	(void)put(f,
		  PODS TELEMETRY("istio-system", "mesh",
				 "{metrics: [{overrides: [{match: {metric: TCP_SENT_BYTES, mode: "
				 "CLIENT}, disabled: true}, {tagOverrides: {source_principal: "
				 "{operation: REMOVE}, env: {value: \"'test'\"}}}]}]}"));
	assert_string_equal(said_of(f, "demo/p"),
			    "client: off=4 env= -source_principaltest server: "
			    "env= -source_principaltest");
	(void)put(f, TELEMETRY("demo", "ns",
			       "{metrics: [{overrides: [{disabled: false, tagOverrides: "
			       "{source_principal: {value: \"'x'\"}}}]}]}"));
	assert_string_equal(said_of(f, "demo/p"),
			    "client: env= source_principal=testx server: env= "
			    "source_principal=testx");
}

static void a_filter_is_the_narrowest_ones(void **state)
{
	struct fixture *f = *state;

	assert_null(strstr(
		put(f,
		    PODS TELEMETRY("istio-system", "mesh",
				   "{accessLogging: [{match: {mode: SERVER}, filter: "
				   "{expression: \"response.code >= 400 && connection.mtls\"}}]}")),
		"spec"));
	assert_string_equal(said_of(f, "demo/p"),
			    "server: log if response.code >= 400 && connection.mtls");
	(void)put(f, TELEMETRY("demo", "ns", "{accessLogging: [{}]}"));
	assert_string_equal(said_of(f, "demo/p"), "client: log server: log");
}

#define ENVOY  "providers: [{name: envoy}]"
#define OTEL   "providers: [{name: otel}]"
#define FILTER "filter: {expression: response.code >= 400}"

/* What a root namespace's and a namespace's accessLogging make of the log. */
static const struct {
	const char *mesh, *ns, *want;
} loggings[] = {
	{"[]", "[{" OTEL ", disabled: true}]", ""},
	{"[]", "[{" ENVOY ", disabled: true}]", "no-log"},
	{"[]", "[{" OTEL "}]", "log"},
	{"[{" OTEL "}]", "[{" OTEL ", disabled: true}]", "no-log"},
	{"[{" OTEL "}]", "[{disabled: true}]", "no-log"},
	{"[{" OTEL "}]", "[{" ENVOY ", disabled: true}]", "log"},
	{"[{" OTEL ", disabled: true}]", "[{disabled: true}]", "no-log"},
	{"[{disabled: true}]", "[{" OTEL ", disabled: true}]", "no-log"},
	{"[]", "[{" ENVOY "}, {" OTEL ", disabled: true}]", "log"},
	{"[]", "[{" ENVOY "}, {" OTEL "}, {" OTEL ", disabled: true}]", "log"},
	{"[]", "[{" OTEL "}, {" ENVOY "}, {" OTEL ", disabled: true}, {" ENVOY ", disabled: true}]",
	 "no-log"},
	/* who is named stands in place of the wider scope's */
	{"[{" ENVOY "}]", "[{" OTEL "}, {" OTEL ", disabled: true}]", "no-log"},
	/* a line that one of them is to have is there */
	{"[]", "[{" ENVOY ", " FILTER "}]", "log if response.code >= 400"},
	{"[]", "[{" ENVOY ", " FILTER "}, {" OTEL "}]", "log"},
	{"[]", "[{" ENVOY ", " FILTER "}, {" OTEL "}, {" OTEL ", disabled: true}]",
	 "log if response.code >= 400"},
};

static void put_logging(struct fixture *f, const char *ns, const char *list)
{
	char *yaml = str_format(TELEMETRY("%s", "t", "{accessLogging: %s}"), ns, list);

	(void)put(f, yaml);
	free(yaml);
}

static void a_provider_ends_its_own_log_only(void **state)
{
	struct fixture *f = *state;
	char want[128];

	(void)put(f, PODS);
	for (size_t i = 0; i < ARRAY_SIZE(loggings); i++) {
		put_logging(f, "istio-system", loggings[i].mesh);
		put_logging(f, "demo", loggings[i].ns);
		(void)snprintf(want, sizeof(want), "client: %s server: %s", loggings[i].want,
			       loggings[i].want);
		if (!streq(said_of(f, "demo/p"), *loggings[i].want ? want : ""))
			fail_msg("case %zu: wanted \"%s\", got \"%s\"", i, want, said);
	}
}

static void another_providers_metrics_are_not_ours(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS TELEMETRY("istio-system", "mesh",
				    "{metrics: [{" OTEL ", overrides: [{match: {mode: CLIENT}, "
				    "disabled: true, tagOverrides: {a: {operation: REMOVE}}}]}]}"));
	assert_string_equal(said_of(f, "demo/p"), "client: -a");
	assert_non_null(strstr(f->text, "which this does not turn off"));
	(void)put(f, TELEMETRY("istio-system", "mesh",
			       "{metrics: [{providers: [{name: otel}, {name: prometheus}], "
			       "overrides: [{match: {mode: CLIENT}, disabled: true}]}]}"));
	assert_string_equal(said_of(f, "demo/p"), "client: off=31");
}

static void tags_may_be_of_single_metrics_and_expressions(void **state)
{
	struct fixture *f = *state;

	assert_null(strstr(
		put(f,
		    PODS TELEMETRY("istio-system", "mesh",
				   "{metrics: [{overrides: [{match: {mode: CLIENT}, tagOverrides: "
				   "{a: {value: destination.port}}}, {match: {metric: "
				   "TCP_SENT_BYTES, mode: CLIENT}, tagOverrides: {a: "
				   "{operation: REMOVE}}}]}]}")),
		"spec"));
	assert_string_equal(said_of(f, "demo/p"), "client: -a a=destination.port of=4 of=27");
}

static void the_oldest_of_a_scope_counts(void **state)
{
	struct fixture *f = *state;

	(void)put(f, PODS TELEMETRY("demo", "b", OFF));
	/* one that has a time is older than one without */
	(void)put(f, TELEMETRY("demo", "a, creationTimestamp: \"2020-01-01T00:00:00Z\"",
			       "{accessLogging: [{}]}"));
	assert_string_equal(said_of(f, "demo/p"), "client: log server: log");
	assert_non_null(strstr(f->text, "Telemetry demo/b: metadata.name: demo/a is older"));
	(void)drop(f, "Telemetry", "demo", "a");
	assert_non_null(strstr(f->text, "cleared Telemetry demo/b"));
}

static const struct {
	const char *spec, *message;
} parts[] = {
	{"{tracing: [{}]}", "spec.tracing: not honoured"},
	{"{targetRefs: [{kind: Gateway, name: x}], accessLogging: [{disabled: true}]}",
	 "targetRefs are for waypoints"},
	{"{accessLogging: [{filter: {expression: \"request.method == 'GET'\"}}]}",
	 "spec.accessLogging[0]: filter is not honoured, every connection has its line: "
	 "request.method has no meaning here"},
	{"{accessLogging: [{filter: {expression: response.code}}]}", "it is not true or false"},
	{"{accessLogging: [{providers: [{name: otel}]}]}", "one access log"},
	{"{metrics: [{providers: [{name: x}]}]}", "spec.metrics[0]: providers are not told apart"},
	{"{metrics: [{reportingInterval: 5s}]}", "reportingInterval is not honoured"},
	{"{metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, disabled: true}]}]}",
	 "no metric of layer 4"},
	{"{metrics: [{overrides: [{match: {customMetric: x}}]}]}", "no metric of layer 4"},
	{"{metrics: [{overrides: [{tagOverrides: {a: {value: request.host}}}]}]}",
	 "tag a stays as it is: request.host has no meaning here"},
	{"{metrics: [{overrides: [{tagOverrides: {a: {value: response.code}}}]}]}",
	 "tag a stays as it is: response.code is known only when the connection is over"},
};

static void what_is_honoured_in_part_says_so(void **state)
{
	struct fixture *f = *state;
	char yaml[512];

	(void)put(f, PODS);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		(void)drop(f, "Telemetry", "demo", "t");
		(void)snprintf(yaml, sizeof(yaml), TELEMETRY("demo", "t", "%s"), parts[i].spec);
		if (!strstr(put(f, yaml), parts[i].message))
			fail_msg("case %zu: %s", i, f->text);
	}
	assert_string_equal(said_of(f, "demo/p"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_narrowest_scope_counts_and_a_change_reaches_its_pods),
		T(metrics_are_hidden_and_tags_changed),
		T(a_filter_is_the_narrowest_ones),
		T(a_provider_ends_its_own_log_only),
		T(another_providers_metrics_are_not_ours),
		T(tags_may_be_of_single_metrics_and_expressions),
		T(the_oldest_of_a_scope_counts),
		T(what_is_honoured_in_part_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

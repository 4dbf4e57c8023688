/* SPDX-License-Identifier: Apache-2.0 */
/* direct - denials that the kernel has carried out: counted and logged as ztunnel's own. */
#include "ztunnel/direct.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/history.h"
#include "ztunnel/telemetry.h"

#define DENIED 41

/* What is counted of DENIED refused connections between two pods, of which one is logged. */
static void report(bool is_denied_still, struct buf *into)
{
	uint32_t ports[] = {80};
	Istio__Security__Match match = ISTIO__SECURITY__MATCH__INIT, *matches[] = {&match};
	Istio__Security__Clause clause = ISTIO__SECURITY__CLAUSE__INIT, *clauses[] = {&clause};
	Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules[] = {&rule};
	Istio__Security__Authorization policy = ISTIO__SECURITY__AUTHORIZATION__INIT;
	const struct zds_direct m = {.what = ZDS_DIRECT_DENIED,
				     .denied = DENIED,
				     .lines = 1,
				     .dst = mesh_sockaddr("10.0.0.2:80"),
				     .asked = mesh_sockaddr("10.0.0.2:80")};
	_cleanup_(telemetry_freep) struct telemetry *t = NULL;
	struct direct_news news = {.m = &m, .now_us = 7000};
	json_t *past = json_array();
	struct state_builder *b;
	uint64_t since = 0;
	struct state *s;

	match.n_destination_ports = clause.n_matches = rule.n_clauses = policy.n_rules = 1;
	match.destination_ports = ports;
	clause.matches = matches;
	rule.clauses = clauses;
	policy.rules = rules;
	policy.name = "p";
	policy.namespace_ = "demo";
	policy.scope = ISTIO__SECURITY__SCOPE__NAMESPACE;
	policy.action = ISTIO__SECURITY__ACTION__DENY;
	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(b, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	mesh_put_workload(b, &(struct mesh_workload){.name = "b", .addrs = {"10.0.0.2"}});
	if (is_denied_still)
		mesh_put_policy(b, &policy);
	state_builder_set_synced(b);
	s = mesh_build(b);
	news.src = state_workload_by_uid(s, "Kubernetes//Pod/demo/a");
	news.dst = state_workload_by_uid(s, "Kubernetes//Pod/demo/b");
	assert_int_equal(telemetry_new(&t), 0);
	direct_report(t, s, &news);
	assert_int_equal(telemetry_write(&t, 1, 1, into), 0);
	assert_int_equal(buf_append(into, "", 1), 0);
	assert_int_equal(history_to_json(telemetry_history(t), past, &since), 0);
	assert_int_equal(json_array_size(past), 0); /* the agent has them */
	json_decref(past);
	state_unref(s);
	state_builder_free(b);
}

/* At both ends. */
static void check_counted(const char *metrics)
{
	static const char *const names[] = {"opened", "closed", "failed"};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(names); i++) {
		const char *flags = i / 2 == 0 ? "\"-\"" : "\"DENY\"", *line;
		char text[128];

		(void)snprintf(text, sizeof(text), "istio_tcp_connections_%s_total{reporter=\"%s\"",
			       names[i / 2], i % 2 ? "source" : "destination");
		line = strstr(metrics, text);
		assert_non_null(line);
		(void)snprintf(text, sizeof(text), "response_flags=%s", flags);
		assert_true(strstr(line, text) && strstr(line, text) < strchr(line, '\n'));
		assert_int_equal(strtol(strstr(line, "} ") + 2, NULL, 10), DENIED);
	}
}

TEST(a_denial_of_the_kernels_is_counted_at_both_ends)
{
	_cleanup_(buf_resetp) struct buf text = {0};

	report(true, &text);
	check_counted((char *)buf_head(&text));
}

/* The policy may have gone before it is told. */
TEST(a_denial_by_a_policy_that_is_gone_is_counted_too)
{
	_cleanup_(buf_resetp) struct buf text = {0};

	report(false, &text);
	check_counted((char *)buf_head(&text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_denial_of_the_kernels_is_counted_at_both_ends),
		cmocka_unit_test(a_denial_by_a_policy_that_is_gone_is_counted_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* access-log - fields and order of Istio's ztunnel; nothing that a peer sends can forge a field. */
#include "ztunnel/access_log.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/log.h"
#include "tests/unit/ztunnel/mesh.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "ztunnel/history.h"
#include "ztunnel/signal_values.h"
#include "ztunnel/telemetry.h"

static struct state *world(void)
{
	struct state_builder *b = NULL;
	struct state *s;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(b, &(struct mesh_workload){.name = "c", .addrs = {"10.0.0.1"}});
	mesh_put_workload(b, &(struct mesh_workload){.name = "s", .addrs = {"10.0.0.2"}});
	mesh_put_service(b, &(struct mesh_service){.name = "httpd"});
	s = mesh_build(b);
	state_builder_free(b);
	return s;
}

/* A connection of which everything is known, 12 ms before 13000. */
static struct conn_info known(struct state *s)
{
	return (struct conn_info){
		.direction = CONN_OUTBOUND,
		.is_mtls = true,
		.has_hbone = true,
		.src = mesh_sockaddr("10.0.0.1:40000"),
		.dst = mesh_sockaddr("10.0.0.2:15008"),
		.hbone_addr = mesh_sockaddr("10.0.0.2:80"),
		.src_workload = state_workload_by_uid(s, "Kubernetes//Pod/demo/c"),
		.dst_workload = state_workload_by_uid(s, "Kubernetes//Pod/demo/s"),
		.service = state_service_by_key(s, "demo/httpd.demo.svc.cluster.local"),
		.src_identity = "spiffe://cluster.local/ns/demo/sa/c",
		.dst_identity = "spiffe://cluster.local/ns/demo/sa/s",
		.opened_us = 1000,
		.bytes_to_server = 3,
		.bytes_to_client = 9,
	};
}

TEST(all_fields_in_istios_order)
{
	struct state *s = world();
	struct conn_info info = known(s);
	char line[2048];

	(void)access_log_format(&info, 13000, NULL, line, sizeof(line));
	assert_string_equal(
		line,
		" src.addr=10.0.0.1:40000 src.workload=\"c\" src.namespace=\"demo\""
		" src.identity=\"spiffe://cluster.local/ns/demo/sa/c\" src.cluster=\"Kubernetes\""
		" dst.addr=10.0.0.2:15008 dst.hbone_addr=10.0.0.2:80"
		" dst.service=\"httpd.demo.svc.cluster.local\" dst.workload=\"s\""
		" dst.namespace=\"demo\" dst.identity=\"spiffe://cluster.local/ns/demo/sa/s\""
		" dst.cluster=\"Kubernetes\" direction=\"outbound\" bytes_sent=3 bytes_recv=9"
		" duration=\"12ms\"");
	state_unref(s);
}

TEST(inbound_counts_from_the_servers_side_and_plaintext_names_nobody)
{
	struct conn_info info = {
		.direction = CONN_INBOUND,
		.src = mesh_sockaddr("10.0.0.1:40000"),
		.dst = mesh_sockaddr("10.0.0.2:80"),
		.src_identity = "spiffe://claimed",
		.bytes_to_server = 3,
		.bytes_to_client = 9,
	};
	char line[2048];

	(void)access_log_format(&info, 0, "broken", line, sizeof(line));
	assert_string_equal(line,
			    " src.addr=10.0.0.1:40000 dst.addr=10.0.0.2:80 direction=\"inbound\""
			    " bytes_sent=9 bytes_recv=3 duration=\"0ms\" error=\"broken\"");
}

TEST(quotes_cannot_forge_a_field_and_long_lines_are_cut)
{
	struct conn_info info = {.is_mtls = true, .src_identity = "x\" dst.identity=\"y"};
	char line[2048];
	char tiny[16];

	(void)access_log_format(&info, 0, NULL, line, sizeof(line));
	assert_non_null(strstr(line, "src.identity=\"x\\\" dst.identity=\\\"y\""));
	assert_int_equal(access_log_format(&info, 0, NULL, tiny, sizeof(tiny)), sizeof(tiny) - 1);
}

static int remembered(struct history *h)
{
	json_t *list = json_array();
	uint64_t since = 0;
	int n;

	assert_int_equal(history_to_json(h, list, &since), 0);
	n = (int)json_array_size(list);
	json_decref(list);
	return n;
}

static const char *json_text(const json_t *line, const char *key)
{
	return json_string_value(json_object_get(line, key));
}

/** struct heard - what is logged meanwhile. */
struct heard {
	int saved, fds[2];
	char text[8192];
};

static void hear(struct heard *h)
{
	h->saved = dup(STDERR_FILENO);
	assert_int_equal(pipe2(h->fds, O_NONBLOCK), 0);
	assert_int_not_equal(dup2(h->fds[1], STDERR_FILENO), -1);
}

static void heard(struct heard *h)
{
	ssize_t n = read(h->fds[0], h->text, sizeof(h->text) - 1);

	(void)dup2(h->saved, STDERR_FILENO);
	(void)close(h->saved);
	(void)close(h->fds[0]);
	(void)close(h->fds[1]);
	h->text[MAX(n, 0)] = '\0';
}

TEST(as_json_the_fields_are_the_same_and_in_the_same_order)
{
	static const char *const keys[] = {
		"time",           "level",         "scope",        "message",       "src.addr",
		"src.workload",   "src.namespace", "src.identity", "src.cluster",   "dst.addr",
		"dst.hbone_addr", "dst.service",   "dst.workload", "dst.namespace", "dst.identity",
		"dst.cluster",    "direction",     "bytes_sent",   "bytes_recv",    "duration",
		"error",
	};
	struct state *s = world();
	struct conn_info info = known(s);
	const struct conn_end end = {.now_us = 13000, .error = "it said \"no\""};
	struct history *history = NULL;
	struct heard h;
	const char *key;
	json_t *line, *value;
	size_t i = 0;

	assert_int_equal(history_new(&history), 0);
	log_set_format_json(true);
	hear(&h);
	access_log_complete(history, &info, &end, NULL);
	heard(&h);
	log_set_format_json(false);
	line = json_loads(h.text, JSON_REJECT_DUPLICATES, NULL);
	json_object_foreach (line, key, value) {
		assert_true(i < ARRAY_SIZE(keys));
		assert_string_equal(key, keys[i++]);
	}
	assert_int_equal(i, ARRAY_SIZE(keys));
	assert_string_equal(json_text(line, "level"), "error");
	assert_string_equal(json_text(line, "scope"), "access");
	assert_string_equal(json_text(line, "message"), "connection complete");
	assert_string_equal(json_text(line, "src.identity"), "spiffe://cluster.local/ns/demo/sa/c");
	assert_string_equal(json_text(line, "dst.addr"), "10.0.0.2:15008");
	assert_string_equal(json_text(line, "duration"), "12ms");
	assert_string_equal(json_text(line, "error"), "it said \"no\"");
	assert_int_equal(json_integer_value(json_object_get(line, "bytes_sent")), 3);
	assert_int_equal(json_integer_value(json_object_get(line, "bytes_recv")), 9);
	json_decref(line);
	history_free(history);
	state_unref(s);
}

/* lines_of() - how many lines a connection with these rules of its client writes. */
static int lines_of(Culvert__Node__Telemetry *rules, enum conn_direction direction)
{
	const struct conn_end failed = {.flags = CONN_CONNECT, .error = "x"};
	struct conn_info info = {.direction = direction};
	struct state_builder *b = NULL;
	struct history *history = NULL;
	struct heard h;
	struct state *s;
	int lines = 0;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(
		b, &(struct mesh_workload){.name = "c", .addrs = {"10.0.0.1"}, .client = rules});
	s = mesh_build(b);
	state_builder_free(b);
	info.src_workload = state_workload_by_uid(s, "Kubernetes//Pod/demo/c");
	assert_int_equal(history_new(&history), 0);
	hear(&h);
	access_log_complete(history, &info, &(struct conn_end){0}, NULL);
	access_log_failed(history, &info, &failed);
	heard(&h);
	assert_int_equal(remembered(history), 2); /* whatever is printed */
	history_free(history);
	for (const char *c = h.text; *c; c++)
		lines += *c == '\n';
	state_unref(s);
	return lines;
}

TEST(the_mesh_and_then_the_reporting_workload_say_whether_there_are_lines)
{
	Culvert__Node__Telemetry rules = CULVERT__NODE__TELEMETRY__INIT;

	assert_int_equal(lines_of(NULL, CONN_OUTBOUND), 2);
	rules.access_log = CULVERT__NODE__TELEMETRY__SWITCH__OFF;
	assert_int_equal(lines_of(&rules, CONN_OUTBOUND), 0);
	assert_int_equal(lines_of(&rules, CONN_INBOUND),
			 2); /* the server reports, and is unknown */
	access_log_set_default(false);
	assert_int_equal(lines_of(NULL, CONN_OUTBOUND), 0);
	rules.access_log = CULVERT__NODE__TELEMETRY__SWITCH__ON;
	assert_int_equal(lines_of(&rules, CONN_OUTBOUND), 2);
	access_log_set_default(true);
}

TEST(a_filter_is_asked_of_each_connection)
{
	static const struct {
		const char *filter;
		int lines; /* of one that was well and one that could not connect, both to nowhere
			    */
	} cases[] = {
		{"response.code == 200", 1},
		{"response.code >= 500", 1},
		{"response.code == 401", 0},
		{"has(connection.termination_details)", 1},
		{"connection.termination_details == 'x' || response.code == 200", 2},
		{"source.workload == 'c' && source.namespace == 'demo'", 2},
		{"filter_state.downstream_peer.name != 'c'", 0},
		{"connection.mtls", 0},
		{"source.principal != 'a'", 0}, /* it has none */
		{"xds.listener_direction == 2 && source.port == 0", 2},
		{"request.total_size > 0 || response.total_size > 0", 0},
		{"request.duration < duration('1s')", 2},
		{"what.is.this", 2}, /* of a newer control plane */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		Culvert__Node__Telemetry rules = CULVERT__NODE__TELEMETRY__INIT;

		rules.log_filter = (char *)cases[i].filter;
		if (lines_of(&rules, CONN_OUTBOUND) != cases[i].lines)
			fail_msg("%s", cases[i].filter);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_fields_in_istios_order),
		cmocka_unit_test(as_json_the_fields_are_the_same_and_in_the_same_order),
		cmocka_unit_test(inbound_counts_from_the_servers_side_and_plaintext_names_nobody),
		cmocka_unit_test(
			the_mesh_and_then_the_reporting_workload_say_whether_there_are_lines),
		cmocka_unit_test(a_filter_is_asked_of_each_connection),
		cmocka_unit_test(quotes_cannot_forge_a_field_and_long_lines_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* telemetry - Istio's names and labels, sums over workers, a bound on series. */
#include "ztunnel/telemetry.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/macros.h"
#include "tests/unit/ztunnel/mesh.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "ztunnel/arena.h"
#include "ztunnel/signal_rules.h"

#define SRC_ID "spiffe://cluster.local/ns/demo/sa/default"

struct fixture {
	struct telemetry *t;
	struct telemetry *second;
	struct state *s;
	struct conn_info info;
	uint64_t now_us;
	char text[16 << 20];
};

static int setup(void **state)
{
	static struct fixture f;
	struct state_builder *b = NULL;

	memset(&f, 0, sizeof(f));
	log_set_level(LOG_ERROR);
	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(
		b, &(struct mesh_workload){.name = "c", .addrs = {"10.0.0.1"}, .zone = "z1"});
	mesh_put_workload(b, &(struct mesh_workload){.name = "s", .addrs = {"10.0.0.2"}});
	mesh_put_service(b, &(struct mesh_service){.name = "httpd"});
	f.s = mesh_build(b);
	state_builder_free(b);
	assert_int_equal(telemetry_new(&f.t), 0);
	assert_int_equal(telemetry_new(&f.second), 0);
	f.info = (struct conn_info){
		.direction = CONN_OUTBOUND,
		.is_mtls = true,
		.src_workload = state_workload_by_uid(f.s, "Kubernetes//Pod/demo/c"),
		.dst_workload = state_workload_by_uid(f.s, "Kubernetes//Pod/demo/s"),
		.service = state_service_by_key(f.s, "demo/httpd.demo.svc.cluster.local"),
		.src_identity = SRC_ID,
		.dst_identity = SRC_ID,
	};
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	telemetry_free(f->t);
	telemetry_free(f->second);
	state_unref(f->s);
	return 0;
}

static const char *scrape(struct fixture *f)
{
	struct telemetry *const all[] = {f->t, f->second};
	struct buf b = {0};

	assert_int_equal(telemetry_write(all, 2, f->now_us, &b), 0);
	assert_true(buf_len(&b) < sizeof(f->text));
	memcpy(f->text, buf_head(&b), buf_len(&b));
	f->text[buf_len(&b)] = '\0';
	buf_reset(&b);
	return f->text;
}

static void a_connection_is_counted_under_istios_labels(void **state)
{
	struct fixture *f = *state;
	struct conn_metrics *m = telemetry_conn_open(f->t, &f->info);
	const char *text;

	conn_metrics_add(&m->received, 5);
	conn_metrics_add(&m->sent, 7);
	text = scrape(f);
	assert_non_null(strstr(
		text,
		"istio_tcp_connections_opened_total{reporter=\"source\",source_workload=\"c\","
		"source_canonical_service=\"c\",source_canonical_revision=\"unknown\","
		"source_workload_namespace=\"demo\",source_principal=\"" SRC_ID
		"\",source_app=\"c\","
		"source_version=\"unknown\",source_cluster=\"Kubernetes\","
		"destination_service=\"httpd.demo.svc.cluster.local\",destination_service_"
		"namespace=\"demo\","
		"destination_service_name=\"httpd\",destination_workload=\"s\""));
	assert_non_null(
		strstr(text, "request_protocol=\"tcp\",response_flags=\"-\","
			     "connection_security_policy=\"mutual_tls\",source_region=\"unknown\","
			     "source_zone=\"z1\""));
	assert_non_null(strstr(text, "} 5\n"));
	assert_non_null(strstr(text, "} 7\n"));
	assert_null(strstr(text, "istio_tcp_connections_closed_total{"));
	telemetry_conn_close(f->t, m, &f->info, CONN_OK, NULL);
	assert_non_null(
		strstr(scrape(f), "istio_tcp_connections_closed_total{reporter=\"source\""));
}

static void workers_are_summed(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++)
		(void)telemetry_conn_open(f->t, &f->info);
	(void)telemetry_conn_open(f->second, &f->info);
	assert_non_null(strstr(scrape(f), "} 4\n"));
}

static void plaintext_and_strangers_are_unknown(void **state)
{
	struct fixture *f = *state;
	struct conn_info info = {.direction = CONN_INBOUND, .dst_workload = f->info.dst_workload};

	(void)telemetry_conn_open(f->t, &info);
	assert_non_null(strstr(scrape(f), "reporter=\"destination\",source_workload=\"unknown\""));
	assert_non_null(strstr(f->text, "connection_security_policy=\"unknown\""));
	assert_non_null(strstr(f->text, "source_principal=\"unknown\""));
}

/* value_of() - of the one sample of this family that has @label. */
static unsigned long value_of(const char *text, const char *family, const char *label)
{
	unsigned long value = 0;
	size_t len = strlen(family);
	int found = 0;

	for (const char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
		char line[4096];

		if (strncmp(at, family, len) != 0 || at[len] != '{')
			continue;
		/* a copy: the sanitizers' strstr() walks the whole text each time */
		assert_true((size_t)(end - at) < sizeof(line));
		memcpy(line, at, (size_t)(end - at));
		line[end - at] = '\0';
		if (!strstr(line, label))
			continue;
		value = strtoul(strstr(line, "} ") + 2, NULL, 10);
		found++;
	}
	assert_true(found <= 1);
	return value;
}

static void a_failure_counts_as_opened_closed_and_failed_with_its_flag(void **state)
{
	struct fixture *f = *state;

	telemetry_conn_denied(f->t, &f->info, "demo/deny", "explicitly denied");
	telemetry_conn_failed(f->t, &f->info, CONN_CONNECT, "refused");
	(void)scrape(f);
	assert_int_equal(value_of(f->text, "istio_tcp_connections_opened_total", "flags=\"-\""), 2);
	assert_int_equal(value_of(f->text, "istio_tcp_connections_closed_total", "\"DENY\""), 1);
	assert_int_equal(value_of(f->text, "istio_tcp_connections_failed_total", "\"DENY\""), 1);
	assert_int_equal(value_of(f->text, "istio_tcp_connections_closed_total", "\"CONNECT\""), 1);
	assert_int_equal(value_of(f->text, "istio_tcp_connections_failed_total", "\"CONNECT\""), 1);
}

static void an_early_end_counts_as_failed_alone(void **state)
{
	struct fixture *f = *state;

	telemetry_conn_early(f->t, &f->info, CONN_TLS_FAILURE, "no certificate");
	(void)scrape(f);
	assert_int_equal(value_of(f->text, "istio_tcp_connections_failed_total", "TLS_FAILURE"), 1);
	assert_null(strstr(f->text, "istio_tcp_connections_opened_total{"));
}

static void sockets_are_a_gauge_by_reporter(void **state)
{
	struct fixture *f = *state;

	telemetry_count_socket(f->t, CONN_OUTBOUND, 1);
	telemetry_count_socket(f->t, CONN_INBOUND, 1);
	telemetry_count_socket(f->second, CONN_INBOUND, 1);
	telemetry_count_socket(f->t, CONN_OUTBOUND, -1);
	(void)scrape(f);
	assert_int_equal(value_of(f->text, "istio_tcp_sockets_open", "\"source\""), 0);
	assert_int_equal(value_of(f->text, "istio_tcp_sockets_open", "\"destination\""), 2);
}

static void one_series_is_shared_whether_cached_or_not(void **state)
{
	struct fixture *f = *state;
	struct conn_info other = f->info;
	struct conn_metrics *m = telemetry_conn_open(f->t, &f->info);

	other.src_identity = "spiffe://cluster.local/ns/demo/sa/other";
	assert_ptr_not_equal(telemetry_conn_open(f->t, &other), m);
	for (int i = 0; i < 4; i++)
		assert_ptr_equal(telemetry_conn_open(f->t, &f->info), m);
}

static void hostile_label_values_are_escaped_and_series_bounded(void **state)
{
	struct fixture *f = *state;
	struct conn_info info = f->info;
	struct conn_metrics *last = NULL;
	char id[64];

	info.src_identity = "a\"}\n\\b";
	(void)telemetry_conn_open(f->t, &info);
	assert_non_null(strstr(scrape(f), "source_principal=\"a\\\"}\\n\\\\b\""));
	for (int i = 0; i < 9000; i++) {
		(void)snprintf(id, sizeof(id), "spiffe://td/ns/a/sa/%d", i);
		info.src_identity = id;
		last = telemetry_conn_open(f->t, &info);
	}
	info.src_identity = "one more";
	assert_ptr_equal(telemetry_conn_open(f->t, &info), last);
	assert_null(strstr(scrape(f), "culvert_metrics_folded_total 0\n"));
	/* what is folded keeps the direction and the flag: sums by them stay right */
	info.direction = CONN_INBOUND;
	telemetry_conn_failed(f->t, &info, CONN_TLS_FAILURE, "x");
	(void)scrape(f);
	assert_int_equal(value_of(f->text, "istio_tcp_connections_closed_total", "TLS_FAILURE"), 1);
	assert_int_equal(value_of(f->text, "istio_tcp_connections_opened_total", "\"destination\""),
			 1);
}

/* As many connections, one set of labels each, opened and closed; @from: the first one's number. */
static void crowd(struct telemetry *t, const struct conn_info *like, int from, int n)
{
	struct conn_info info = *like;
	char id[64];

	for (int i = from; i < from + n; i++) {
		(void)snprintf(id, sizeof(id), "spiffe://td/ns/a/sa/%d", i);
		info.src_identity = id;
		telemetry_conn_close(t, telemetry_conn_open(t, &info), &info, CONN_OK, NULL);
	}
}

static unsigned long opened_by(struct fixture *f, const char *account)
{
	char label[96];

	(void)snprintf(label, sizeof(label), "source_principal=\"spiffe://td/ns/a/sa/%s\"",
		       account);
	return value_of(f->text, "istio_tcp_connections_opened_total", label);
}

static void series_that_are_long_idle_make_room_for_new_ones(void **state)
{
	struct fixture *f = *state;

	f->now_us = 1;
	crowd(f->t, &f->info, 0, 9000);
	(void)scrape(f);
	assert_int_equal(opened_by(f, "9"), 1);
	f->now_us += TELEMETRY_IDLE_US - 1;
	(void)scrape(f);
	crowd(f->t, &f->info, 9000, 1);
	(void)scrape(f);
	assert_int_equal(opened_by(f, "9000"), 0); /* folded: nothing is idle for long enough */
	f->now_us += TELEMETRY_IDLE_US;
	(void)scrape(f);
	crowd(f->t, &f->info, 9001, 4000);
	(void)scrape(f);
	assert_int_equal(opened_by(f, "9001"), 1);
	assert_int_equal(opened_by(f, "13000"), 1);
	assert_int_equal(opened_by(f, "9"), 0);
	/* one that comes again begins at 0, and is counted as ever */
	crowd(f->t, &f->info, 9, 1);
	(void)scrape(f);
	assert_int_equal(opened_by(f, "9"), 1);
	crowd(f->t, &f->info, 9, 1);
	(void)scrape(f);
	assert_int_equal(opened_by(f, "9"), 2);
}

static void a_sum_does_not_fall_to_what_one_worker_has(void **state)
{
	struct fixture *f = *state;

	f->now_us = 1;
	crowd(f->t, &f->info, 0, 9000);
	for (int i = 0; i < 3; i++)
		crowd(f->second, &f->info, 7, 1);
	for (int i = 0; i < 4; i++) {
		(void)scrape(f);
		f->now_us += TELEMETRY_IDLE_US;
		crowd(f->second, &f->info, 7, 1);
		crowd(f->t, &f->info, 9000 + i, 1);
	}
	(void)scrape(f);
	assert_int_equal(opened_by(f, "8"), 0);
	assert_int_equal(opened_by(f, "7"), 1 + 3 + 4);
}

static void an_open_connection_keeps_its_series(void **state)
{
	struct conn_metrics *open[2];
	struct fixture *f = *state;
	struct conn_info told = f->info, last = f->info;

	f->now_us = 1;
	open[0] = telemetry_conn_open(f->t, &f->info);
	last.src_identity = "spiffe://td/ns/a/sa/same";
	open[1] = telemetry_conn_open(f->t, &last);
	told.src_identity = "spiffe://td/ns/a/sa/told";
	telemetry_told_open(f->t, &told);
	crowd(f->t, &f->info, 0, 9000);
	for (int i = 0; i < 3; i++) {
		(void)scrape(f);
		f->now_us += TELEMETRY_IDLE_US;
		crowd(f->t, &f->info, 9000 + i, 1);
	}
	conn_metrics_add(&open[0]->sent, 5);
	conn_metrics_add(&open[1]->sent, 6);
	telemetry_conn_close(f->t, open[0], &f->info, CONN_OK, NULL);
	telemetry_conn_close(f->t, open[1], &last, CONN_CONNECT, "reset");
	telemetry_told_close(f->t, &told, CONN_OK, NULL);
	(void)scrape(f);
	assert_int_equal(opened_by(f, "same"), 1);
	assert_int_equal(opened_by(f, "told"), 1);
	assert_int_equal(opened_by(f, "8"), 0);
	/* and gives it back afterwards */
	f->now_us += TELEMETRY_IDLE_US;
	crowd(f->t, &f->info, 20000, 5000);
	(void)scrape(f);
	(void)scrape(f);
	assert_int_equal(opened_by(f, "told"), 0);
	assert_int_equal(opened_by(f, "same"), 0);
}

/* A state whose client has these rules; f->info is its connection. */
static struct state *ruled(struct fixture *f, Culvert__Node__Telemetry *rules)
{
	struct state_builder *b = NULL;
	struct state *s;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(
		b, &(struct mesh_workload){
			   .name = "ruled", .addrs = {"10.0.0.9"}, .zone = "z1", .client = rules});
	s = mesh_build(b);
	state_builder_free(b);
	f->info.src_workload = state_workload_by_uid(s, "Kubernetes//Pod/demo/ruled");
	return s;
}

/* Rules with room for their tags. */
struct tagged {
	Culvert__Node__Telemetry rules;
	Culvert__Node__Telemetry__Tag tag[3], *tags[3];
};

static void tagged_init(struct tagged *t)
{
	culvert__node__telemetry__init(&t->rules);
	t->rules.tags = t->tags;
}

/* Return: one more tag, for the caller to say what becomes of it. */
static Culvert__Node__Telemetry__Tag *tagged_add(struct tagged *t, char *name)
{
	Culvert__Node__Telemetry__Tag *tag = &t->tag[t->rules.n_tags];

	assert_true(t->rules.n_tags < ARRAY_SIZE(t->tag));
	culvert__node__telemetry__tag__init(tag);
	tag->name = name;
	t->tags[t->rules.n_tags++] = tag;
	return tag;
}

static void rules_hide_metrics_and_change_labels(void **state)
{
	struct fixture *f = *state;
	struct conn_metrics *m;
	struct tagged t;
	struct state *s;

	tagged_init(&t);
	tagged_add(&t, "source_principal")->is_removed = true;
	tagged_add(&t, "source_app")->value = "mine";
	tagged_add(&t, "env")->value = "a\"b";
	t.rules.metrics_off = SIGNAL_SENT;
	s = ruled(f, &t.rules);
	m = telemetry_conn_open(f->t, &f->info);
	conn_metrics_add(&m->received, 5);
	conn_metrics_add(&m->sent, 7);
	(void)scrape(f);
	assert_null(strstr(f->text, "istio_tcp_sent_bytes_total{"));
	assert_null(strstr(f->text, "source_principal"));
	assert_int_equal(value_of(f->text, "istio_tcp_received_bytes_total",
				  "source_app=\"mine\",source_version"),
			 5);
	assert_int_equal(value_of(f->text, "istio_tcp_received_bytes_total",
				  "destination_zone=\"unknown\",env=\"a\\\"b\"}"),
			 5);
	f->info.direction = CONN_INBOUND; /* the server says nothing */
	(void)telemetry_conn_open(f->t, &f->info);
	assert_non_null(strstr(scrape(f), "source_principal=\"" SRC_ID));
	state_unref(s);
}

/* What `culvert drops` reads. */
static void failures_are_counted_whatever_rules_hide(void **state)
{
	struct fixture *f = *state;
	struct tagged t;
	struct state *s;

	tagged_init(&t);
	tagged_add(&t, "response_flags")->is_removed = true;
	t.rules.metrics_off = SIGNAL_ALL;
	s = ruled(f, &t.rules);
	telemetry_conn_denied(f->t, &f->info, "demo/deny", "explicitly denied");
	telemetry_conn_early(f->second, &f->info, CONN_DENY, "early");
	f->info.direction = CONN_INBOUND;
	telemetry_conns_failed(f->t, &f->info, CONN_CONNECT, 3);
	(void)scrape(f);
	assert_null(strstr(f->text, "istio_tcp_connections_failed_total{reporter=\"source\""));
	assert_int_equal(value_of(f->text, "culvert_connections_failed_total",
				  "reporter=\"source\",response_flags=\"DENY\""),
			 2);
	assert_int_equal(value_of(f->text, "culvert_connections_failed_total",
				  "reporter=\"destination\",response_flags=\"CONNECT\""),
			 3);
	state_unref(s);
}

static void a_rule_may_be_of_one_metric_and_samples_stay_unique(void **state)
{
	struct fixture *f = *state;
	struct tagged t;
	struct state *s;

	tagged_init(&t);
	tagged_add(&t, "destination_principal")->is_removed = true;
	t.tag[0].metrics = SIGNAL_SENT;
	s = ruled(f, &t.rules);
	for (int i = 0; i < 2; i++) { /* two principals, which sent bytes do not tell apart */
		f->info.dst_identity = i ? "spiffe://td/ns/a/sa/b" : "spiffe://td/ns/a/sa/a";
		conn_metrics_add(&telemetry_conn_open(f->t, &f->info)->sent, 7);
	}
	(void)scrape(f);
	assert_int_equal(value_of(f->text, "istio_tcp_sent_bytes_total", "ruled"), 14);
	assert_int_equal(value_of(f->text, "istio_tcp_connections_opened_total",
				  "destination_principal=\"spiffe://td/ns/a/sa/a\""),
			 1);
	state_unref(s);
}

static void a_label_may_be_an_expression(void **state)
{
	struct fixture *f = *state;
	struct tagged t;
	struct state *s;

	tagged_init(&t);
	tagged_add(&t, "port")->expression = "destination.port";
	tagged_add(&t, "who")->expression = "connection.mtls ? source.principal : 'nobody'";
	/* not known yet: it stays a label without a value */
	tagged_add(&t, "odd")->expression = "response.code";
	s = ruled(f, &t.rules);
	for (uint16_t port = 80; port < 82; port++) {
		f->info.has_hbone = true;
		f->info.hbone_addr.port = htons(port);
		(void)telemetry_conn_open(f->t, &f->info);
	}
	(void)scrape(f);
	for (int port = 80; port < 82; port++) {
		char wanted[128];

		(void)snprintf(wanted, sizeof(wanted), "port=\"%d\",who=\"" SRC_ID "\",odd=\"",
			       port);
		assert_int_equal(value_of(f->text, "istio_tcp_connections_opened_total", wanted),
				 1);
	}
	state_unref(s);
}

static void equal_labels_with_other_things_hidden_are_one_sample(void **state)
{
	struct fixture *f = *state;
	Culvert__Node__Telemetry rules = CULVERT__NODE__TELEMETRY__INIT;
	struct state *plain = ruled(f, NULL), *hidden;

	conn_metrics_add(&telemetry_conn_open(f->t, &f->info)->sent, 1);
	rules.metrics_off = SIGNAL_SENT;
	hidden = ruled(f, &rules);
	conn_metrics_add(&telemetry_conn_open(f->t, &f->info)->sent, 10);
	(void)scrape(f);
	assert_int_equal(value_of(f->text, "istio_tcp_sent_bytes_total", "ruled"), 1);
	assert_int_equal(value_of(f->text, "istio_tcp_connections_opened_total", "ruled"), 2);
	state_unref(plain);
	state_unref(hidden);
}

static void rules_with_labels_that_prometheus_refuses_are_refused(void **state)
{
	static const char *const names[] = {"", "1a", "a-b", "__name__", "a b", "a\n"};
	Culvert__Node__Telemetry__Tag tag = CULVERT__NODE__TELEMETRY__TAG__INIT;
	Culvert__Node__Telemetry__Tag *tags[SIGNAL_TAGS_MAX + 1] = {&tag, &tag};
	Culvert__Node__Telemetry rules = CULVERT__NODE__TELEMETRY__INIT;
	const struct signal_rules *r = NULL;
	struct arena *arena = NULL;

	assert_int_equal(arena_new(ARENA_CHUNK, &arena), 0);
	rules.tags = tags;
	rules.n_tags = 1;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		tag.name = (char *)names[i];
		assert_int_equal(signal_rules_decode(&rules, arena, &r), -EINVAL);
	}
	tag.name = "a";
	assert_int_equal(signal_rules_decode(&rules, arena, &r), 0);
	rules.n_tags = 2; /* twice the same */
	assert_int_equal(signal_rules_decode(&rules, arena, &r), -EINVAL);
	rules.n_tags = SIGNAL_TAGS_MAX + 1;
	assert_int_equal(signal_rules_decode(&rules, arena, &r), -EINVAL);
	(void)arena_free(arena);
}

static void *write_forever(void *arg)
{
	struct fixture *f = arg;
	struct conn_info info = f->info;
	char id[64];

	for (int i = 0; i < 5000; i++) {
		(void)snprintf(id, sizeof(id), "%d", i % 1000);
		info.src_identity = id;
		conn_metrics_add(&telemetry_conn_open(f->t, &info)->sent, 1);
	}
	return NULL;
}

static void a_scrape_may_run_beside_the_worker(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, write_forever, f), 0);
	for (int i = 0; i < 20; i++) {
		struct telemetry *const all[] = {f->t};
		struct buf b = {0};

		assert_int_equal(telemetry_write(all, 1, 1, &b), 0);
		buf_reset(&b);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_connection_is_counted_under_istios_labels),
		T(workers_are_summed),
		T(plaintext_and_strangers_are_unknown),
		T(a_failure_counts_as_opened_closed_and_failed_with_its_flag),
		T(an_early_end_counts_as_failed_alone),
		T(sockets_are_a_gauge_by_reporter),
		T(one_series_is_shared_whether_cached_or_not),
		T(hostile_label_values_are_escaped_and_series_bounded),
		T(series_that_are_long_idle_make_room_for_new_ones),
		T(a_sum_does_not_fall_to_what_one_worker_has),
		T(an_open_connection_keeps_its_series),
		T(a_scrape_may_run_beside_the_worker),
		T(rules_hide_metrics_and_change_labels),
		T(equal_labels_with_other_things_hidden_are_one_sample),
		T(failures_are_counted_whatever_rules_hide),
		T(a_rule_may_be_of_one_metric_and_samples_stay_unique),
		T(a_label_may_be_an_expression),
		T(rules_with_labels_that_prometheus_refuses_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

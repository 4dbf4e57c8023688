/* SPDX-License-Identifier: Apache-2.0 */
/* telemetry - Istio's names and labels, sums over workers, a bound on series. */
#include "ztunnel/telemetry.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "tests/unit/ztunnel/mesh.h"

#define SRC_ID "spiffe://cluster.local/ns/demo/sa/default"

struct fixture {
	struct telemetry *t;
	struct telemetry *second;
	struct state *s;
	struct conn_info info;
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

	assert_int_equal(telemetry_write(all, 2, &b), 0);
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

	for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
		const char *end = strchr(line, '\n');
		const char *at = strstr(line, label);

		if (strncmp(line, family, len) != 0 || line[len] != '{' || !at || !end || at > end)
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

		assert_int_equal(telemetry_write(all, 1, &b), 0);
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
		T(a_scrape_may_run_beside_the_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

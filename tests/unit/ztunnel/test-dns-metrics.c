/* SPDX-License-Identifier: Apache-2.0 */
/* dns-metrics - by type, transport and source; buckets are cumulative; the number of series is
 * bounded. */
#include "ztunnel/dns_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tests/unit/ztunnel/mesh.h"

/* A query for "a." of this type. */
static struct dns_request ask(uint16_t type, uint8_t into[19])
{
	const uint8_t packet[] = {0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 0, 0, 1};

	memcpy(into, packet, sizeof(packet));
	into[15] = (uint8_t)(type >> 8);
	into[16] = (uint8_t)type;
	return (struct dns_request){.packet = into, .len = sizeof(packet)};
}

static char *text_of(const struct dns_metrics *m)
{
	struct buf b = {0};
	char *text;

	assert_int_equal(dns_metrics_write(m, &b), 0);
	assert_int_equal(buf_append(&b, "", 1), 0);
	text = strdup((const char *)buf_head(&b));
	buf_reset(&b);
	return text;
}

TEST(requests_are_told_apart_by_type_transport_and_source)
{
	struct dns_metrics *m = NULL;
	struct state_builder *b = NULL;
	struct dns_request r;
	struct state *s;
	uint8_t packet[19];
	char *text;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(b, &(struct mesh_workload){.name = "web", .addrs = {"10.0.0.1"}});
	s = mesh_build(b);
	state_builder_free(b);
	assert_int_equal(dns_metrics_new(&m), 0);
	r = ask(28, packet);
	r.source = state_workload_by_uid(s, "Kubernetes//Pod/demo/web");
	dns_metrics_count(m, &r, DNS_ASKED);
	r.is_tcp = true;
	dns_metrics_count(m, &r, DNS_ASKED);
	r.len = 3; /* no message */
	r.source = NULL;
	dns_metrics_count(m, &r, DNS_FAILED);
	text = text_of(m);
	assert_non_null(strstr(text, "istio_dns_requests_total{request_query_type=\"aaaa\","
				     "request_protocol=\"udp\",source_canonical_service=\"web\","
				     "source_canonical_revision=\"unknown\"} 1\n"));
	assert_non_null(strstr(text, "\"aaaa\",request_protocol=\"tcp\""));
	assert_non_null(strstr(text, "istio_dns_upstream_failures_total{request_query_type="
				     "\"unknown\",request_protocol=\"tcp\""));
	assert_null(strstr(text, "istio_dns_upstream_requests_total{"));
	free(text);
	dns_metrics_free(m);
	state_unref(s);
}

TEST(durations_fall_into_cumulative_buckets)
{
	struct dns_metrics *m = NULL;
	struct dns_request r;
	uint8_t packet[19];
	char *text;

	assert_int_equal(dns_metrics_new(&m), 0);
	r = ask(1, packet);
	dns_metrics_took(m, &r, 1000);
	dns_metrics_took(m, &r, 50000);
	dns_metrics_took(m, &r, 9000000);
	text = text_of(m);
	assert_non_null(strstr(text, "_bucket{le=\"0.001\",request_query_type=\"a\""));
	for (const char *want[] = {"0.001", "0.01", "0.1", "5.0", "+Inf"}, **w = want; w < want + 5;
	     w++) {
		static const char *const counts[] = {"} 1\n", "} 1\n", "} 2\n", "} 2\n", "} 3\n"};
		char le[32];
		const char *line;

		(void)snprintf(le, sizeof(le), "le=\"%s\"", *w);
		line = strstr(text, le);
		assert_non_null(line);
		assert_memory_equal(strstr(line, "} "), counts[w - want], 4);
	}
	assert_non_null(strstr(text, "_seconds_sum{"));
	assert_non_null(strstr(text, "} 9.051000\n"));
	free(text);
	dns_metrics_free(m);
}

TEST(names_that_connections_need_are_counted_by_who_needs_them)
{
	struct dns_metrics *m = NULL;
	struct state_builder *b = NULL;
	struct state *s;
	char host[32], *text;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(b, &(struct mesh_workload){.name = "web", .addrs = {"10.0.0.1"}});
	s = mesh_build(b);
	state_builder_free(b);
	assert_int_equal(dns_metrics_new(&m), 0);
	for (int i = 0; i < 2; i++)
		dns_metrics_named(m, state_workload_by_uid(s, "Kubernetes//Pod/demo/web"),
				  "db.example.org");
	text = text_of(m);
	assert_non_null(strstr(text,
			       "# TYPE istio_on_demand_dns counter\n"
			       "istio_on_demand_dns_total{source_workload=\"web\","
			       "source_canonical_service=\"web\",source_canonical_revision="
			       "\"unknown\",source_workload_namespace=\"demo\",source_principal="
			       "\"spiffe://cluster.local/ns/demo/sa/default\",source_app=\"web\","
			       "source_version=\"unknown\",source_cluster=\"Kubernetes\","
			       "hostname=\"db.example.org\"} 2\n"));
	free(text);
	for (unsigned int i = 0; i < 1100; i++) {
		(void)snprintf(host, sizeof(host), "h%u.example.org", i);
		dns_metrics_named(m, NULL, host);
	}
	text = text_of(m);
	assert_non_null(strstr(text, "source_cluster=\"unknown\",hostname=\"unknown\"} 77\n"));
	free(text);
	dns_metrics_free(m);
	state_unref(s);
}

TEST(series_are_bounded)
{
	struct dns_metrics *m = NULL;
	struct dns_request r;
	uint8_t packet[19];
	size_t lines = 0;
	char *text;

	assert_int_equal(dns_metrics_new(&m), 0);
	for (unsigned int i = 0; i < 3000; i++) {
		struct state_builder *b = NULL;
		struct state *s;
		char name[32];

		(void)snprintf(name, sizeof(name), "w%u", i);
		assert_int_equal(state_builder_new("n1", &b), 0);
		mesh_put_workload(b, &(struct mesh_workload){.name = name, .addrs = {"10.0.0.1"}});
		s = mesh_build(b);
		state_builder_free(b);
		(void)snprintf(name, sizeof(name), "Kubernetes//Pod/demo/w%u", i);
		r = ask(1, packet);
		r.source = state_workload_by_uid(s, name);
		dns_metrics_count(m, &r, DNS_ASKED);
		state_unref(s);
	}
	text = text_of(m);
	for (const char *at = text; (at = strstr(at, "istio_dns_requests_total{")); at++)
		lines++;
	assert_true(lines > 1000 && lines <= 1026);
	assert_non_null(strstr(text, "{request_query_type=\"unknown\",request_protocol=\"udp\","
				     "source_canonical_service=\"unknown\",source_canonical_"
				     "revision=\"unknown\"} 1976\n"));
	free(text);
	dns_metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_told_apart_by_type_transport_and_source),
		cmocka_unit_test(durations_fall_into_cumulative_buckets),
		cmocka_unit_test(names_that_connections_need_are_counted_by_who_needs_them),
		cmocka_unit_test(series_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

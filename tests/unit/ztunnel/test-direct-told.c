/* SPDX-License-Identifier: Apache-2.0 */
/* direct - how connections without a tunnel are counted and logged. */
#include <errno.h>

#include <jansson.h>

#include "base/buf.h"
#include "tests/unit/ztunnel/direct-pods.h"
#include "ztunnel/history.h"
#include "ztunnel/telemetry.h"

/* A connection between the fixture's pods, and what is told of it. */
struct told {
	struct zds_direct m;
	struct direct_news news;
	struct state *state;
	struct telemetry *telemetry;
	struct buf text;
};

static void told_begin(struct told *k, const struct fixture *f)
{
	*k = (struct told){.m = {.src = mesh_sockaddr("10.0.0.1:5000"),
				 .dst = mesh_sockaddr("10.0.0.2:80"),
				 .asked = mesh_sockaddr("10.0.0.2:80")},
			   .news = {.m = &k->m},
			   .state = mesh_build(f->b)};
	k->news.src = state_workload_by_uid(k->state, f->src.uid);
	k->news.dst = state_workload_by_uid(k->state, f->dst.uid);
	assert_non_null(k->news.src);
	assert_non_null(k->news.dst);
	assert_int_equal(telemetry_new(&k->telemetry), 0);
}

static void tell(struct told *k, enum zds_direct_what what)
{
	k->m.what = what;
	direct_report(k->telemetry, k->state, &k->news);
}

/* told_metrics() - once, until told_end(). */
static const char *told_metrics(struct told *k)
{
	assert_int_equal(telemetry_write(&k->telemetry, 1, 1, &k->text), 0);
	assert_int_equal(buf_append(&k->text, "", 1), 0);
	return (const char *)buf_head(&k->text);
}

static void told_end(struct told *k)
{
	state_unref(k->state);
	telemetry_freep(&k->telemetry);
	buf_resetp(&k->text);
}

static void it_is_counted_at_both_ends(void **state)
{
	const char *metrics;
	struct told k;

	told_begin(&k, *state);
	k.m.sent = 300;
	k.m.received = 500;
	tell(&k, ZDS_DIRECT_OPENED);
	k.m.new_sent = 100;
	tell(&k, ZDS_DIRECT_PROGRESS);
	k.m.new_sent = 200;
	k.m.new_received = 500;
	tell(&k, ZDS_DIRECT_CLOSED);
	k.news.src = NULL;
	k.m.error = ECONNREFUSED;
	tell(&k, ZDS_DIRECT_FAILED);
	metrics = told_metrics(&k);
	for (int i = 0; i < 2; i++) {
		char want[64];

		(void)snprintf(want, sizeof(want), "connections_opened_total{reporter=\"%s\"",
			       i ? "source" : "destination");
		assert_non_null(strstr(metrics, want));
	}
	assert_non_null(strstr(metrics, "} 300\n"));
	assert_non_null(strstr(metrics, "} 500\n"));
	assert_non_null(strstr(metrics, "connections_failed_total"));
	told_end(&k);
}

/* Of both ends' last connections. */
static const char *last_error(const struct telemetry *t, size_t back)
{
	json_t *list = json_array();
	static char text[128];
	uint64_t since = 0;
	const char *error;

	assert_int_equal(history_to_json(telemetry_history(t), list, &since), 0);
	assert_true(json_array_size(list) > back);
	error = json_string_value(
		json_object_get(json_array_get(list, json_array_size(list) - 1 - back), "error"));
	(void)snprintf(text, sizeof(text), "%s", error ? error : "");
	json_decref(list);
	return text;
}

/* As of a tunnelled one: an error in the log, no other labels. */
static void an_end_by_a_reset_is_told(void **state)
{
	const char *metrics;
	struct told k;

	told_begin(&k, *state);
	k.m.new_sent = 300;
	k.m.new_received = 500;
	tell(&k, ZDS_DIRECT_OPENED);
	tell(&k, ZDS_DIRECT_OPENED);
	tell(&k, ZDS_DIRECT_RESET);
	for (size_t back = 0; back < 2; back++)
		assert_string_equal(last_error(k.telemetry, back), "connection reset");
	tell(&k, ZDS_DIRECT_CLOSED);
	for (size_t back = 0; back < 2; back++)
		assert_string_equal(last_error(k.telemetry, back), "");
	metrics = told_metrics(&k);
	for (const char *said[] = {"} 2\n", "} 600\n", "} 1000\n", NULL}, **p = said; *p; p++)
		assert_non_null(strstr(metrics, *p));
	assert_null(strstr(metrics, "istio_tcp_connections_failed_total{"));
	assert_null(strstr(metrics, "response_flags=\"CONNECT\""));
	told_end(&k);
}

/* As of a tunnelled one: why it is stands where the policy is, and the client sees a reset. */
static void an_end_by_a_denial_names_the_policy(void **state)
{
	const char *metrics;
	struct told k;

	deny(*state, NULL, false); /* port 81 */
	told_begin(&k, *state);
	k.m.dst = mesh_sockaddr("10.0.0.2:81");
	tell(&k, ZDS_DIRECT_OPENED);
	tell(&k, ZDS_DIRECT_CUT);
	assert_string_equal(last_error(k.telemetry, 1), "connection reset");
	assert_string_equal(last_error(k.telemetry, 0),
			    "connection closed due to policy change: explicitly denied: demo/p");
	k.m.dst = mesh_sockaddr("10.0.0.2:80"); /* not denied any more */
	tell(&k, ZDS_DIRECT_OPENED);
	tell(&k, ZDS_DIRECT_CUT);
	assert_string_equal(last_error(k.telemetry, 0),
			    "connection closed due to policy change: denied at that moment");
	metrics = told_metrics(&k);
	metrics = strstr(metrics, "istio_tcp_connections_closed_total{");
	assert_non_null(metrics);
	assert_non_null(strstr(metrics, "response_flags=\"DENY\""));
	assert_null(strstr(metrics, "istio_tcp_connections_failed_total{"));
	told_end(&k);
}

static void one_that_was_never_established_is_told_in_a_tunnels_words(void **state)
{
	const char *const left = "the client left before the application answered";
	struct told k;

	told_begin(&k, *state);
	k.m.error = ECONNREFUSED;
	tell(&k, ZDS_DIRECT_FAILED);
	assert_string_equal(last_error(k.telemetry, 1), "http status: 503 Service Unavailable");
	assert_string_equal(last_error(k.telemetry, 0),
			    "connection failed: Connection refused (os error 111)");
	k.m.error = 0;
	tell(&k, ZDS_DIRECT_FAILED);
	for (size_t back = 0; back < 2; back++)
		assert_string_equal(last_error(k.telemetry, back), left);
	assert_non_null(strstr(told_metrics(&k), "response_flags=\"CONNECT\""));
	told_end(&k);
}

static void of_what_was_not_told_there_are_numbers(void **state)
{
	struct fixture *f = *state;
	const struct zds_direct m = {.dst = mesh_sockaddr("10.0.0.2:80"),
				     .asked = mesh_sockaddr("10.0.0.2:80"),
				     .opened = 41,
				     .closed = 40,
				     .failed = 2,
				     .new_sent = 300,
				     .new_received = 500,
				     .what = ZDS_DIRECT_UNTOLD};
	struct direct_news news = {.m = &m};
	_cleanup_(telemetry_freep) struct telemetry *t = NULL;
	_cleanup_(buf_resetp) struct buf text = {0};
	struct state *s = mesh_build(f->b);
	const char *const said[] = {"} 43\n", "} 40\n", "} 2\n", "} 300\n", "} 500\n"};

	news.src = state_workload_by_uid(s, f->src.uid);
	news.dst = state_workload_by_uid(s, f->dst.uid);
	assert_int_equal(telemetry_new(&t), 0);
	direct_report(t, s, &news);
	state_unref(s);
	assert_int_equal(telemetry_write(&t, 1, 1, &text), 0);
	assert_int_equal(buf_append(&text, "", 1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
		const char *first = strstr((char *)buf_head(&text), said[i]);

		assert_non_null(first);
		assert_non_null(strstr(first + 1, said[i])); /* at the other end, too */
	}
	assert_non_null(strstr((char *)buf_head(&text), "response_flags=\"CONNECT\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with(it_is_counted_at_both_ends),
		with(an_end_by_a_reset_is_told),
		with(an_end_by_a_denial_names_the_policy),
		with(one_that_was_never_established_is_told_in_a_tunnels_words),
		with(of_what_was_not_told_there_are_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

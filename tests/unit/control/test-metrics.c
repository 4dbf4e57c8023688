/* SPDX-License-Identifier: Apache-2.0 */
/* metrics - its own port from the start on, before there is a control plane; well-formed; nobody
 * keeps Prometheus out. */
#include "userspace/control/metrics.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/unit/control/probe.h"

struct fixture {
	struct control *control; /* NULL: not there yet */
	struct metrics *metrics;
	struct probe probe;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_set_level(LOG_OFF);
	*state = f;
	probe_init(&f->probe);
	return metrics_new(f->probe.loop, f->probe.port, &f->control, &f->metrics);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)metrics_free(f->metrics);
	(void)loop_free(f->probe.loop);
	free(f);
	return 0;
}

static void the_process_tells_of_itself_from_the_start(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(probe_ask(&f->probe, GET("/metrics")), 200);
	/* istiod's counters have no suffix: that is this format's only */
	assert_non_null(strcasestr(f->probe.text, "content-type: text/plain; version=0.0.4"));
	assert_non_null(strstr(f->probe.text,
			       "\nistio_build{component=\"pilot\",tag=\"" CULVERT_VERSION
			       "\"} 1\n"));
	assert_non_null(strstr(f->probe.text, "\n# TYPE process_cpu_seconds_total counter\n"));
	assert_non_null(strstr(f->probe.text, "\nprocess_resident_memory_bytes "));
	assert_non_null(strstr(f->probe.text, "\nistiod_uptime_seconds "));
	assert_null(strstr(f->probe.text, "pilot_xds"));
}

static void tells_nothing_else(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(probe_ask(&f->probe, GET("/")), 404);
	assert_int_equal(probe_ask(&f->probe, GET("/status")), 404);
	assert_int_equal(
		probe_ask(&f->probe, "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), 405);
}

static void strangers_that_say_nothing_keep_nobody_out(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(probe_ask_in_crowd(&f->probe, GET("/metrics")), 200);
}

static void a_port_that_is_taken_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct metrics *other = NULL;

	assert_int_equal(metrics_new(f->probe.loop, f->probe.port, &f->control, &other),
			 -EADDRINUSE);
	assert_null(other);
	assert_int_equal(metrics_new(f->probe.loop, 0, &f->control, &other), 0);
	assert_null(metrics_free(other));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_process_tells_of_itself_from_the_start),
		TEST(tells_nothing_else),
		TEST(strangers_that_say_nothing_keep_nobody_out),
		TEST(a_port_that_is_taken_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

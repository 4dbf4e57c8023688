/* SPDX-License-Identifier: Apache-2.0 */
/* readiness - alive from the start, ready once the mesh is served; nobody keeps the kubelet out. */
#include "userspace/control/readiness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "tests/unit/control/probe.h"
#include "userspace/control/control.h"

/* Stands for the control plane. */
struct control {
	const char *why_not, *but;
};

const char *__wrap_control_unready(const struct control *c);

const char *__wrap_control_unready(const struct control *c)
{
	return c->why_not;
}

const char *__wrap_control_stale(const struct control *c);

const char *__wrap_control_stale(const struct control *c)
{
	return c->but;
}

struct fixture {
	struct control *control;
	struct http_server *server;
	struct probe probe;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_set_level(LOG_ERROR);
	*state = f;
	probe_init(&f->probe);
	return readiness_serve(f->probe.loop, f->probe.port, &f->control, &f->server);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)http_server_free(f->server);
	(void)loop_free(f->probe.loop);
	free(f);
	return 0;
}

static void is_alive_before_it_is_ready(void **state)
{
	struct fixture *f = *state;
	struct control control = {.why_not = "changes of kind Pod are not heard of"};

	assert_int_equal(probe_ask(&f->probe, GET("/live")), 200);
	assert_int_equal(probe_ask(&f->probe, GET("/ready")), 503);
	f->control = &control;
	assert_int_equal(probe_ask(&f->probe, GET("/ready")), 503);
	assert_non_null(strstr(f->probe.text, "changes of kind Pod are not heard of\n"));
	control.why_not = NULL;
	assert_int_equal(probe_ask(&f->probe, GET("/ready")), 200);
	assert_non_null(strstr(f->probe.text, "ready\n"));
	assert_int_equal(probe_ask(&f->probe, GET("/live")), 200);
	control.but = "changes of kind Pod are refused";
	assert_int_equal(probe_ask(&f->probe, GET("/ready")), 200);
	assert_non_null(strstr(f->probe.text, "changes of kind Pod are refused\n"));
}

static void tells_nothing_else(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(probe_ask(&f->probe, GET("/status")), 404);
	assert_int_equal(probe_ask(&f->probe, "POST /ready HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
			 405);
}

static void strangers_that_say_nothing_keep_nobody_out(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(probe_ask_in_crowd(&f->probe, GET("/live")), 200);
}

static void a_port_that_is_taken_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct http_server *other = NULL;

	assert_int_equal(readiness_serve(f->probe.loop, f->probe.port, &f->control, &other),
			 -EADDRINUSE);
	assert_int_equal(readiness_serve(f->probe.loop, 0, &f->control, &other), 0);
	assert_null(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(is_alive_before_it_is_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_nothing_else, setup, teardown),
		cmocka_unit_test_setup_teardown(strangers_that_say_nothing_keep_nobody_out, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_port_that_is_taken_is_an_error, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

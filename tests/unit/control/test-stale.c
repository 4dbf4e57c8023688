/* SPDX-License-Identifier: Apache-2.0 */
/* stale - a control plane whose API server no longer tells it of a kind is not ready and says
 * which, until it has caught up. */
#include <errno.h>
#include <unistd.h>

#include "tests/unit/fast-clock.h"
#include "tests/unit/source/fake-kube.h"
#include "tests/unit/control/ca-dir.h"

#define SECOND_US 1000000ULL
#define EMPTY     "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}"

struct fixture {
	struct fake_kube kube;
	struct ca *ca;
	struct control *control;
	char dir[64];
	int pods_fd; /* the newest watch of Pods */
	int refusal; /* the status that lists and watches of Pods are answered with; 0: none */
};

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;
	bool is_pods = str_has_prefix(path, "/api/v1/pods?");

	if (is_pods && f->refusal) {
		fake_answer(fd, f->refusal, "{}");
	} else if (strstr(path, "watch=1")) {
		f->pods_fd = is_pods ? fd : f->pods_fd;
		fake_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	} else {
		fake_answer(fd, strstr(path, "limit=") ? 200 : 403, EMPTY);
	}
	return true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct control_config config = control_config_of_test();

	assert_non_null(f);
	fake_kube_start(&f->kube, on_request, f);
	f->ca = ca_dir_make(f->dir);
	config.loop = f->kube.loop;
	config.kube = f->kube.client;
	config.ca = f->ca;
	assert_int_equal(control_new(&config, &f->control), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)control_free(f->control);
	(void)ca_free(f->ca);
	fake_kube_stop(&f->kube);
	ca_dir_remove(f->dir);
	free(f);
	return 0;
}

static void wait_for(struct fixture *f, uint64_t us)
{
	uint64_t until_us = now_monotonic_us() + us;

	the_clock.is_fast = true;
	while (now_monotonic_us() < until_us)
		assert_true(loop_run_once(f->kube.loop, 500) >= 0);
	the_clock.is_fast = false;
}

static size_t count_problems(const struct fixture *f, const char *words)
{
	json_t *status = control_status(f->control), *one;
	size_t i, n = 0;

	json_array_foreach (json_object_get(status, "errors"), i, one)
		n += strstr(json_string_value(json_object_get(one, "message")), words) != NULL;
	json_decref(status);
	return n;
}

static void says_which_kind_is_not_heard_of_until_it_has_caught_up(void **state)
{
	struct fixture *f = *state;

	UNTIL(&f->kube, !control_unready(f->control) && f->pods_fd > 0);
	wait_for(f, SECOND_US);
	f->refusal = 429;
	(void)shutdown(f->pods_fd, SHUT_RDWR);
	wait_for(f, 8 * SECOND_US);
	assert_null(control_unready(f->control));
	wait_for(f, 4 * SECOND_US);
	assert_non_null(strstr(control_unready(f->control),
			       "changes of kind Pod have not been heard of since 20"));
	assert_int_equal(count_problems(f, "changes of kind Pod"), 1);
	f->refusal = 0;
	wait_for(f, 15 * SECOND_US);
	assert_null(control_unready(f->control));
	assert_int_equal(count_problems(f, "changes of kind Pod"), 0);
}

/* Another replica would hear no more: that this one left the Service would take certificates and
 * the webhook with it, too. */
static void stays_ready_where_the_api_server_refuses_a_kind(void **state)
{
	struct fixture *f = *state;

	UNTIL(&f->kube, !control_unready(f->control) && f->pods_fd > 0);
	wait_for(f, SECOND_US);
	assert_null(control_stale(f->control));
	f->refusal = 403;
	(void)shutdown(f->pods_fd, SHUT_RDWR);
	wait_for(f, 12 * SECOND_US);
	assert_null(control_unready(f->control));
	assert_non_null(strstr(control_stale(f->control), "the API server refuses them (RBAC)"));
	assert_int_equal(count_problems(f, "the API server refuses them (RBAC)"), 1);
	f->refusal = 429;
	wait_for(f, 15 * SECOND_US);
	assert_null(strstr(control_unready(f->control), "refuses"));
	f->refusal = 0;
	wait_for(f, 15 * SECOND_US);
	assert_null(control_stale(f->control));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			says_which_kind_is_not_heard_of_until_it_has_caught_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stays_ready_where_the_api_server_refuses_a_kind,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

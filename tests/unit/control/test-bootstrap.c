/* SPDX-License-Identifier: Apache-2.0 */
/* bootstrap - what is not known yet is waited for: a control plane that starts must not sign for
 * another trust domain, nor open what was closed, because of a mistake in MeshConfig. */
#include "userspace/control/bootstrap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"
#include "tests/unit/source/fake-api.h"

#define MAP(version, mesh)                                                                         \
	"{\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"istio\",\"namespace\":\"istio-system\"," \
	"\"resourceVersion\":\"" version "\"},\"data\":{\"mesh\":\"" mesh "\"}}"
#define MISTAKE "trustDomain: corp.example\\noutboundTrafficPolicy: {mode: REGISTRY_ONY}\\n"
#define OTHER   "trustDomain: Corp_Example\\n"
#define GOOD    "trustDomain: corp.example\\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\\n"

struct fixture {
	struct loop *loop;
	struct fake_api api;
	struct kube_config config;
	struct kube_client *client;
	struct mesh_config mesh;
	const char *const *answers; /* of each request; the last one stays */
	size_t n_requests, n_errors;
};

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;
	const char *answer = f->answers[0];

	assert_string_equal(path, "/api/v1/namespaces/istio-system/configmaps/istio");
	f->n_requests++;
	if (f->answers[1])
		f->answers++;
	fake_answer(fd, answer ? 200 : 404, answer ? answer : "{}");
	return true;
}

static void on_error(void *arg, const struct source_error *err)
{
	((struct fixture *)arg)->n_errors++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_set_level(LOG_ERROR);
	assert_int_equal(loop_new(&f->loop), 0);
	fake_start(&f->api, f->loop);
	f->api.on_request = on_request;
	f->api.arg = f;
	f->config.server = f->api.url;
	assert_int_equal(kube_client_new(f->loop, &f->config, &f->client), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	mesh_config_clear(&f->mesh);
	(void)kube_client_free(f->client);
	fake_stop(&f->api);
	(void)loop_free(f->loop);
	free(f);
	return 0;
}

static int read_it(struct fixture *f, const char *const *answers)
{
	const struct bootstrap b = {.loop = f->loop,
				    .kube = f->client,
				    .namespace_ = "istio-system",
				    .mesh_config = "istio"};

	f->answers = answers;
	return bootstrap_mesh_config(&b, on_error, f, &f->mesh);
}

static void what_is_right_is_taken(void **state)
{
	static const char *const answers[] = {MAP("1", GOOD), NULL};
	struct fixture *f = *state;

	assert_int_equal(read_it(f, answers), 0);
	assert_string_equal(f->mesh.trust_domain, "corp.example");
	assert_true(f->mesh.is_registry_only);
	assert_int_equal(f->n_errors, 0);
}

static void what_is_for_sidecars_is_no_reason_to_wait(void **state)
{
	static const char *const answers[] = {
		MAP("1", "trustDomain: a\\noutboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}"),
		NULL};
	struct fixture *f = *state;

	assert_int_equal(read_it(f, answers), 0);
	assert_int_equal(f->n_requests, 1);
	assert_string_equal(f->mesh.trust_domain, "a");
	assert_false(f->mesh.is_registry_only);
	assert_int_equal(f->n_errors, 1);
}

static void none_is_istios_defaults(void **state)
{
	static const char *const answers[] = {NULL, NULL};
	struct fixture *f = *state;

	assert_int_equal(read_it(f, answers), 0);
	assert_null(f->mesh.trust_domain);
}

static void a_mistake_is_told_once_and_waited_out(void **state)
{
	static const char *const answers[] = {MAP("1", MISTAKE), MAP("1", MISTAKE), MAP("2", OTHER),
					      MAP("3", GOOD), NULL};
	struct fixture *f = *state;

	assert_int_equal(read_it(f, answers), 0);
	assert_int_equal(f->n_requests, 4);
	assert_int_equal(f->n_errors, 2);
	assert_string_equal(f->mesh.trust_domain, "corp.example");
	assert_true(f->mesh.is_registry_only);
}

static struct {
	struct loop_timer timer;
	struct loop *loop;
} stop;

static void on_stop(struct loop_timer *t)
{
	loop_stop(stop.loop, 0);
}

static void who_is_told_to_stop_waits_no_longer(void **state)
{
	static const char *const answers[] = {MAP("1", MISTAKE), NULL};
	struct fixture *f = *state;

	stop.loop = f->loop;
	stop.timer.on_timer = on_stop;
	assert_int_equal(loop_timer_set(f->loop, &stop.timer, 300000), 0);
	assert_int_equal(read_it(f, answers), -EINTR);
	loop_timer_del(&stop.timer);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_right_is_taken),
		TEST(what_is_for_sidecars_is_no_reason_to_wait),
		TEST(none_is_istios_defaults),
		TEST(a_mistake_is_told_once_and_waited_out),
		TEST(who_is_told_to_stop_waits_no_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

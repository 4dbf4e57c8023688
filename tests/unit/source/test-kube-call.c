/* SPDX-License-Identifier: Apache-2.0 */
/* kube_call - method, body and answer go through; a refusal and a dead server are told apart. */
#include "source/kube_call.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "tests/unit/source/fake-kube.h"

struct fixture {
	struct fake_kube kube;
	char method[16], path[128], body[256];
	struct kube_request *second;
	int n_done;
};

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;

	(void)str_copy(f->method, sizeof(f->method), method);
	(void)str_copy(f->path, sizeof(f->path), path);
	(void)str_copy(f->body, sizeof(f->body), body);
	if (strstr(path, "forbidden"))
		fake_answer(fd, 403, "{\"kind\":\"Status\",\"message\":\"may not\"}");
	else if (strstr(path, "silent"))
		loop_stop(a->loop, -ECANCELED); /* as a signal would */
	else
		fake_answer(fd, 201, "{\"kind\":\"Lease\"}");
	return true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_kube_start(&f->kube, on_request, f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	fake_kube_stop(&f->kube);
	free(f);
	return 0;
}

static void test_each_method_with_its_body_is_answered(void **state)
{
	static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
	struct fixture *f = *state;
	struct kube_reply reply = {0};

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		const struct kube_request_config config = {
			.method = methods[i], .path = "/a?b=c", .body = "{\"x\":1}"};

		assert_int_equal(kube_call(f->kube.loop, f->kube.client, &config, &reply), 0);
		assert_true(kube_reply_is_ok(&reply));
		assert_string_equal(reply.message, "");
		assert_string_equal(json_string_value(json_object_get(reply.body, "kind")),
				    "Lease");
		assert_string_equal(f->method, methods[i]);
		assert_string_equal(f->path, "/a?b=c");
		assert_string_equal(f->body, "{\"x\":1}");
	}
	kube_reply_clear(&reply);
}

static void test_a_refusal_says_why(void **state)
{
	struct fixture *f = *state;
	struct kube_reply reply = {0};

	assert_int_equal(
		kube_call(f->kube.loop, f->kube.client,
			  &(struct kube_request_config){.method = "GET", .path = "/forbidden"},
			  &reply),
		0);
	assert_false(kube_reply_is_ok(&reply));
	assert_int_equal(reply.status, 403);
	assert_string_equal(reply.message, "may not");
	kube_reply_clear(&reply);
}

static void test_no_server_and_a_stopped_loop_are_errors(void **state)
{
	struct fixture *f = *state;
	struct kube_reply reply = {0};
	const struct kube_request_config config = {.method = "GET", .path = "/silent"};

	assert_int_equal(kube_call(f->kube.loop, f->kube.client, &config, &reply), -ECANCELED);
	loop_close(&f->kube.api.listener);
	assert_true(kube_call(f->kube.loop, f->kube.client,
			      &(struct kube_request_config){
				      .method = "GET", .path = "/x", .timeout_us = 1},
			      &reply) < 0);
	assert_true(*reply.message);
	kube_reply_clear(&reply);
}

static void test_a_pause_ends(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(kube_pause(f->kube.loop, 1000), 0);
}

static void on_done(void *arg, const struct kube_answer *a)
{
	struct fixture *f = arg;

	assert_int_equal(a->error, 0);
	assert_int_equal(a->status, 201);
	f->n_done++;
}

/* As a watch's event that makes somebody write: libcurl itself takes no new request in here. */
static int on_data(void *arg, const char *data, size_t len)
{
	struct fixture *f = arg;
	const struct kube_request_config config = {
		.method = "GET", .path = "/second", .on_done = on_done, .arg = f};

	return kube_request_new(f->kube.client, &config, &f->second);
}

static void test_a_part_of_an_answer_may_start_another_request(void **state)
{
	struct fixture *f = *state;
	struct kube_request *first;
	const struct kube_request_config config = {.method = "GET",
						   .path = "/first",
						   .on_data = on_data,
						   .on_done = on_done,
						   .arg = f};

	assert_int_equal(kube_request_new(f->kube.client, &config, &first), 0);
	for (int i = 0; i < 1000 && f->n_done < 2; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_int_equal(f->n_done, 2);
	assert_string_equal(f->path, "/second");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_each_method_with_its_body_is_answered),
		TEST(test_a_refusal_says_why),
		TEST(test_no_server_and_a_stopped_loop_are_errors),
		TEST(test_a_pause_ends),
		TEST(test_a_part_of_an_answer_may_start_another_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

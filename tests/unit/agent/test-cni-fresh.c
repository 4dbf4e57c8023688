/* SPDX-License-Identifier: Apache-2.0 */
/* cni_fresh - an answer counts only when it was asked for late enough; a server that does not say
 * is asked again, for a while. */
#include "userspace/agent/cni_fresh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "tests/unit/fast-clock.h"
#include "tests/unit/source/fake-kube.h"

#define NAMESPACE(labels)                                                                          \
	"{\"kind\":\"Namespace\",\"metadata\":{\"name\":\"demo\",\"labels\":{" labels "}}}"

struct fixture {
	struct fake_kube kube;
	struct cni_fresh *fresh;
	const char *body;
	int status;
	unsigned int asked, answered;
	char path[128];
};

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;

	f->asked++;
	(void)str_copy(f->path, sizeof(f->path), path);
	fake_answer(fd, f->status, f->body);
	return true;
}

static void on_answer(void *arg)
{
	struct fixture *f = arg;

	f->answered++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_kube_start(&f->kube, on_request, f);
	f->status = 200;
	assert_int_equal(cni_fresh_new(f->kube.loop, f->kube.client, on_answer, f, &f->fresh), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	cni_fresh_free(f->fresh);
	fake_kube_stop(&f->kube);
	free(f);
	return 0;
}

/* What is said after one answer to a question of now. */
static enum cni_fresh_says ask(struct fixture *f)
{
	uint64_t now_us = loop_now_us(f->kube.loop);
	unsigned int before = f->answered;

	assert_int_equal(cni_fresh_ask(f->fresh, "demo", now_us), CNI_FRESH_LATER);
	assert_int_equal(cni_fresh_ask(f->fresh, "demo", now_us), CNI_FRESH_LATER);
	for (unsigned int i = 0; i < 1000 && f->answered == before; i++)
		(void)loop_run_once(f->kube.loop, 10);
	assert_int_equal(f->answered, before + 1);
	return cni_fresh_ask(f->fresh, "demo", now_us);
}

static void labels_of_now_decide(void **state)
{
	struct fixture *f = *state;

	f->body = NAMESPACE("");
	assert_int_equal(ask(f), CNI_FRESH_OUTSIDE);
	assert_string_equal(f->path, "/api/v1/namespaces/demo");
	f->body = NAMESPACE("\"istio-injection\":\"enabled\"");
	assert_int_equal(ask(f), CNI_FRESH_INSIDE);
	assert_int_equal(f->asked, 2);
}

static void a_namespace_that_is_gone_is_outside(void **state)
{
	struct fixture *f = *state;

	f->status = 404;
	f->body = "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"details\":{\"kind\":"
		  "\"namespaces\"}}";
	assert_int_equal(ask(f), CNI_FRESH_OUTSIDE);
}

/* As the plugin's server does. */
static enum cni_fresh_says ask_until(struct fixture *f, uint64_t since_us, uint64_t until_us)
{
	enum cni_fresh_says says = CNI_FRESH_LATER;

	the_clock.is_fast = true;
	while (says == CNI_FRESH_LATER && loop_now_us(f->kube.loop) < until_us) {
		(void)loop_run_once(f->kube.loop, 400);
		says = cni_fresh_ask(f->fresh, "demo", since_us);
	}
	the_clock.is_fast = false;
	return says;
}

static void who_does_not_say_is_asked_again_for_a_while(void **state)
{
	static const struct {
		int status;
		const char *body;
	} rows[] = {{403, "{}"}, {404, "{}"}, {404, "404 page not found"},
		    {500, ""},   {200, ""},   {200, "{"},
		    {200, "[]"}, {503, "{}"}};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t since_us;

		f->status = rows[i].status;
		f->body = rows[i].body;
		f->asked = 0;
		assert_int_equal(ask(f), CNI_FRESH_LATER);
		f->status = 200;
		f->body = NAMESPACE("\"istio-injection\":\"enabled\"");
		since_us = loop_now_us(f->kube.loop);
		assert_int_equal(ask_until(f, since_us, since_us + 2000000), CNI_FRESH_INSIDE);
		f->status = rows[i].status;
		f->body = rows[i].body;
		since_us = loop_now_us(f->kube.loop) + 1;
		f->asked = 0;
		assert_int_equal(ask_until(f, since_us, since_us + 9000000), CNI_FRESH_LATER);
		assert_in_range(f->asked, 5, 20);
		assert_int_equal(ask_until(f, since_us, since_us + 12000000), CNI_FRESH_OUTSIDE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(labels_of_now_decide, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_namespace_that_is_gone_is_outside, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(who_does_not_say_is_asked_again_for_a_while, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

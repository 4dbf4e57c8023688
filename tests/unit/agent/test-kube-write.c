/* SPDX-License-Identifier: Apache-2.0 */
/* kube_write, kube_events - what is written is bounded, told once, and a missing right has a name.
 */
#include "userspace/agent/kube_write.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/str.h"
#include "tests/unit/fast-clock.h"
#include "tests/unit/source/fake-kube.h"
#include "userspace/agent/kube_events.h"

struct fixture {
	struct fake_kube kube;
	struct kube_write *write;
	struct kube_events *events;
	struct object *pod;
	int status;         /* that is answered; 0: nothing is */
	const char *answer; /* with this */
	unsigned int asked, done;
	int done_status;
	char path[256], body[2048];
};

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;

	f->asked++;
	(void)str_copy(f->path, sizeof(f->path), path);
	(void)str_copy(f->body, sizeof(f->body), body);
	if (f->status)
		fake_answer(fd, f->status, f->answer);
	return true;
}

static void on_done(void *arg, int status)
{
	struct fixture *f = arg;

	f->done++;
	f->done_status = status;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_kube_start(&f->kube, on_request, f);
	f->status = 201;
	f->answer = "{}";
	assert_int_equal(kube_write_new(f->kube.loop, f->kube.client, &f->write), 0);
	assert_int_equal(kube_events_new(f->kube.loop, f->write, "n1", &f->events), 0);
	assert_int_equal(
		object_new_json(json_pack("{s:s, s:{s:s, s:s, s:s}}", "kind", "Pod", "metadata",
					  "namespace", "demo", "name", "web", "uid", "u1"),
				&f->pod),
		0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)object_unref(f->pod);
	kube_events_free(f->events);
	kube_write_free(f->write);
	fake_kube_stop(&f->kube);
	free(f);
	return 0;
}

static int patch(struct fixture *f)
{
	return kube_write_send(f->write, &(struct kube_write_request){.method = "PATCH",
								      .path = "/x",
								      .content_type = "a/b",
								      .body = "{}",
								      .right = "patch pods/status",
								      .on_done = on_done,
								      .arg = f});
}

static void turn_until(struct fixture *f, const unsigned int *counter, unsigned int want)
{
	for (unsigned int i = 0; i < 1000 && *counter < want; i++)
		(void)loop_run_once(f->kube.loop, 10);
	assert_int_equal(*counter, want);
}

static void a_missing_right_is_named_and_not_asked_for_again(void **state)
{
	struct fixture *f = *state;

	f->status = 403;
	assert_null(kube_write_missing(f->write, 0));
	assert_int_equal(patch(f), 0);
	turn_until(f, &f->done, 1);
	assert_int_equal(f->done_status, 403);
	assert_int_equal(patch(f), -EACCES);
	assert_non_null(strstr(kube_write_missing(f->write, 0), "patch pods/status"));
	assert_null(kube_write_missing(f->write, 1));
	/* another right is another matter */
	f->status = 201;
	kube_events_warn(f->events, f->pod, "MeshPodInvalid", "no");
	turn_until(f, &f->asked, 2);
	assert_null(kube_write_missing(f->write, 1));
}

/* Given meanwhile, it is used; and status does not go on for ever about one that nobody needs. */
static void a_missing_right_is_tried_again_and_forgotten(void **state)
{
	struct fixture *f = *state;

	f->status = 403;
	assert_int_equal(patch(f), 0);
	turn_until(f, &f->done, 1);
	the_clock.ahead_us += 61 * 1000000ULL;
	(void)loop_run_once(f->kube.loop, 1);
	assert_non_null(strstr(kube_write_missing(f->write, 0), "s ago)"));
	assert_int_equal(patch(f), 0);
	turn_until(f, &f->done, 2);
	the_clock.ahead_us += 121 * 1000000ULL;
	(void)loop_run_once(f->kube.loop, 1);
	assert_null(kube_write_missing(f->write, 0));
	f->status = 200;
	assert_int_equal(patch(f), 0);
	turn_until(f, &f->done, 3);
	assert_null(kube_write_missing(f->write, 0));
}

static void each_missing_right_is_named(void **state)
{
	struct fixture *f = *state;
	const char *one, *other;

	f->status = 403;
	assert_int_equal(patch(f), 0);
	kube_events_warn(f->events, f->pod, "MeshPodInvalid", "no");
	for (int i = 0; i < 1000 && !kube_write_missing(f->write, 1); i++)
		(void)loop_run_once(f->kube.loop, 10);
	one = kube_write_missing(f->write, 0);
	other = kube_write_missing(f->write, 1);
	assert_non_null(strstr(one, "patch pods/status"));
	assert_non_null(strstr(other, "create events"));
}

/* Of a pod that goes with its namespace an Event cannot be made by anybody. */
static void a_namespace_that_goes_is_no_missing_right(void **state)
{
	struct fixture *f = *state;

	f->status = 403;
	f->answer = "{\"kind\":\"Status\",\"reason\":\"Forbidden\",\"details\":{\"causes\":[{"
		    "\"reason\":"
		    "\"NamespaceTerminating\",\"field\":\"metadata.namespace\"}]}}";
	assert_int_equal(patch(f), 0);
	turn_until(f, &f->done, 1);
	assert_int_equal(f->done_status, 403);
	assert_null(kube_write_missing(f->write, 0));
	assert_int_equal(patch(f), 0);
}

static void few_are_under_way_at_a_time(void **state)
{
	struct fixture *f = *state;
	unsigned int n = 0;

	f->status = 0;
	while (patch(f) == 0 && n < 100)
		n++;
	assert_in_range(n, 1, 16);
	assert_int_equal(patch(f), -EBUSY);
	/* freed with all of them under way */
}

static void an_event_says_whose_and_what(void **state)
{
	struct fixture *f = *state;
	json_t *event, *of;

	kube_events_warn(f->events, f->pod, "MeshEnrolmentFailed", "no \"room\"");
	turn_until(f, &f->asked, 1);
	assert_string_equal(f->path, "/api/v1/namespaces/demo/events");
	event = json_loads(f->body, 0, NULL);
	of = json_object_get(event, "involvedObject");
	assert_string_equal(json_string_value(json_object_get(event, "reason")),
			    "MeshEnrolmentFailed");
	assert_string_equal(json_string_value(json_object_get(event, "message")), "no \"room\"");
	assert_string_equal(json_string_value(json_object_get(event, "type")), "Warning");
	assert_string_equal(json_string_value(json_object_get(of, "name")), "web");
	assert_string_equal(json_string_value(json_object_get(of, "uid")), "u1");
	json_decref(event);
}

static void events_are_told_once_and_are_few(void **state)
{
	struct fixture *f = *state;
	char message[32];

	for (int i = 0; i < 5; i++)
		kube_events_warn(f->events, f->pod, "MeshPodInvalid", "the same");
	turn_until(f, &f->asked, 1);
	for (int i = 0; i < 200; i++) {
		(void)snprintf(message, sizeof(message), "number %d", i);
		kube_events_warn(f->events, f->pod, "MeshPodInvalid", message);
		for (int j = 0; j < 20; j++)
			(void)loop_run_once(f->kube.loop, 0);
	}
	for (int i = 0; i < 50; i++)
		(void)loop_run_once(f->kube.loop, 1);
	assert_in_range(f->asked, 2, 20);
	kube_events_warn(NULL, f->pod, "MeshPodInvalid", "nobody");
	kube_events_warn(f->events, NULL, "MeshPodInvalid", "of nobody");
}

/* Its namespace goes before its object, and the runtime does not always say which it was. */
static void nothing_is_wrong_with_a_pod_that_is_deleted(void **state)
{
	struct fixture *f = *state;
	struct object *going;

	assert_int_equal(object_new_json(json_pack("{s:s, s:{s:s, s:s, s:s}}", "kind", "Pod",
						   "metadata", "namespace", "demo", "name", "going",
						   "deletionTimestamp", "2026-01-01T00:00:00Z"),
					 &going),
			 0);
	kube_events_warn(f->events, going, "MeshEnrolmentFailed", "cannot enter its namespace");
	kube_events_warn(f->events, f->pod, "MeshEnrolmentFailed", "of another");
	turn_until(f, &f->asked, 1);
	assert_non_null(strstr(f->body, "of another"));
	(void)object_unref(going);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_missing_right_is_named_and_not_asked_for_again,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_missing_right_is_tried_again_and_forgotten,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(each_missing_right_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_namespace_that_goes_is_no_missing_right, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(few_are_under_way_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_event_says_whose_and_what, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_wrong_with_a_pod_that_is_deleted, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(events_are_told_once_and_are_few, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

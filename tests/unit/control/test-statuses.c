/* SPDX-License-Identifier: Apache-2.0 */
/* statuses - each resource's condition says what is made of it; only what differs is written, by
 * the leader alone. */
#include "userspace/control/statuses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/unit/source/fake-kube.h"
#include "userspace/control/condition.h"

#define SECURITY "/apis/security.istio.io/v1/namespaces/demo/"
#define POLICY   SECURITY "authorizationpolicies/p"

struct fixture {
	struct fake_kube kube;
	struct statuses *statuses;
	struct source_error problems[4];
	size_t n_problems;
	bool has_workloads, is_left_out;
	int n_patches, n_lists, status;
	bool is_slow; /* patches are answered by hand */
	int slow_fd;
	char path[256], verdict[1400]; /* of the last patch */
	const char *services;          /* items of VirtualServices */
	const char *newest;            /* "/v1beta1/": no kind is served in a newer version */
};

static void patch_read(struct fixture *f, const char *body)
{
	json_t *patch = json_loads(body, 0, NULL);
	const json_t *one =
		json_array_get(json_object_get(json_object_get(patch, "status"), "conditions"), 0);

	assert_non_null(json_string_value(json_object_get(one, "lastTransitionTime")));
	(void)snprintf(f->verdict, sizeof(f->verdict), "%s %s=%s %s %d: %s",
		       json_string_value(json_object_get(patch, "apiVersion")),
		       json_string_value(json_object_get(one, "type")),
		       json_string_value(json_object_get(one, "status")),
		       json_string_value(json_object_get(one, "reason")),
		       (int)json_integer_value(json_object_get(one, "observedGeneration")),
		       json_string_value(json_object_get(one, "message")));
	json_decref(patch);
}

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;
	char list[1024];

	if (streq(method, "PATCH")) {
		f->n_patches++;
		(void)str_copy(f->path, sizeof(f->path), path);
		patch_read(f, body);
		f->slow_fd = fd;
		if (!f->is_slow)
			fake_answer(fd, f->status, "{}");
		return true;
	}
	if (strstr(path, "watch=1"))
		return false;
	if (f->newest && !strstr(path, f->newest)) {
		fake_answer(fd, 404, "{}");
		return true;
	}
	f->n_lists++;
	(void)snprintf(list, sizeof(list),
		       "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[%s]}",
		       strstr(path, "/virtualservices?") && f->services ? f->services : "");
	fake_answer(fd, 200, list);
	return true;
}

static void for_each_problem(void *arg, void (*fn)(void *fn_arg, const struct source_error *err),
			     void *fn_arg)
{
	const struct fixture *f = arg;

	for (size_t i = 0; i < f->n_problems; i++)
		fn(fn_arg, &f->problems[i]);
}

static bool is_selected(void *arg, const char *namespace_)
{
	return !((const struct fixture *)arg)->is_left_out;
}

static bool has_workloads(void *arg, const char *namespace_, const json_t *labels)
{
	assert_string_equal(namespace_, "demo");
	return ((const struct fixture *)arg)->has_workloads;
}

static void statuses_start(struct fixture *f, uint64_t leave_us)
{
	const struct statuses_config config = {.loop = f->kube.loop,
					       .kube = f->kube.client,
					       .for_each_problem = for_each_problem,
					       .is_selected = is_selected,
					       .has_workloads = has_workloads,
					       .pause_us = 10000,
					       .leave_us = leave_us,
					       .arg = f};

	assert_int_equal(statuses_new(&config, &f->statuses), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_kube_start(&f->kube, on_request, f);
	f->status = 200;
	f->has_workloads = true;
	statuses_start(f, 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)statuses_free(f->statuses);
	fake_kube_stop(&f->kube);
	free(f);
	return 0;
}

static struct object *object_make(int generation, const char *status)
{
	const struct object_init init = {
		.kind = "AuthorizationPolicy",
		.namespace_ = "demo",
		.name = "p",
		.file = POLICY,
		.body = json_pack("{s:s,s:{s:s,s:s,s:i},s:{s:{s:{s:s}}},s:o*}", "kind",
				  "AuthorizationPolicy", "metadata", "name", "p", "namespace",
				  "demo", "generation", generation, "spec", "selector",
				  "matchLabels", "app", "web", "status",
				  status ? json_loads(status, 0, NULL) : NULL),
	};
	struct object *o;

	assert_int_equal(object_new(&init, &o), 0);
	return o;
}

static void put(struct fixture *f, int generation, const char *status)
{
	struct object *o = object_make(generation, status);

	statuses_put(f->statuses, o);
	statuses_changed(f->statuses);
	(void)object_unref(o);
}

static void problem_add(struct fixture *f, const char *file, const char *field, const char *message,
			bool is_warning)
{
	f->problems[f->n_problems++] = (struct source_error){.file = file,
							     .kind = "AuthorizationPolicy",
							     .namespace_ = "demo",
							     .name = "p",
							     .field = field,
							     .message = message,
							     .is_warning = is_warning};
}

static void run(struct fixture *f, int ms)
{
	for (int i = 0; i < ms / 10; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
}

static void wait_verdict(struct fixture *f, const char *verdict)
{
	for (int i = 0; i < 1000 && !streq(f->verdict, verdict); i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_string_equal(f->verdict, verdict);
}

#define V1 "security.istio.io/v1 ZtunnelAccepted="

static void test_each_verdict_is_written_once(void **state)
{
	struct fixture *f = *state;

	put(f, 3, NULL);
	run(f, 100);
	assert_int_equal(f->n_patches, 0); /* another leads */
	assert_int_equal(statuses_lead(f->statuses, true), 0);
	wait_verdict(f, V1 "True Accepted 3: in force");
	assert_string_equal(f->path, POLICY "/status?fieldManager=culvert-control&force=true");
	f->has_workloads = false;
	/* what the model says of it stands for as long as the policy does */
	problem_add(f, POLICY, "spec.selector", "matches no pod", true);
	statuses_changed(f->statuses);
	wait_verdict(f, V1 "True NoMatchingWorkloads 3: its selector matches no pod of the mesh");
	problem_add(f, POLICY, "spec.rules[0].to", "not on layer 4", true);
	problem_add(f, POLICY, "spec.action", "CUSTOM comes later", true);
	statuses_changed(f->statuses);
	wait_verdict(f, V1 "False UnsupportedValue 3: as of Culvert " CULVERT_VERSION
			   ": spec.rules[0].to: not on layer 4; spec.action: CUSTOM comes later");
	problem_add(f, POLICY, "spec", "wrong", false);
	statuses_changed(f->statuses);
	wait_verdict(f, V1 "False Invalid 3: spec.rules[0].to: not on layer 4; spec.action: CUSTOM "
			   "comes later; spec: wrong");
	statuses_changed(f->statuses);
	run(f, 200);
	assert_int_equal(f->n_patches, 4);
	assert_int_equal(statuses_count(f->statuses), 4);
	f->is_left_out = true;
	statuses_changed(f->statuses);
	wait_verdict(f,
		     V1 "True NoMatchingWorkloads 3: discoverySelectors leave its namespace out of "
			"the mesh");
}

static void test_news_while_a_write_is_on_its_way_is_written_after_it(void **state)
{
	struct fixture *f = *state;

	f->is_slow = true;
	assert_int_equal(statuses_lead(f->statuses, true), 0);
	put(f, 3, NULL);
	wait_verdict(f, V1 "True Accepted 3: in force");
	f->has_workloads = false;
	statuses_changed(f->statuses);
	run(f, 100);
	assert_int_equal(f->n_patches, 1);
	f->is_slow = false;
	fake_answer(f->slow_fd, 200, "{}");
	wait_verdict(f, V1 "True NoMatchingWorkloads 3: its selector matches no pod of the mesh");
}

static void test_what_stands_there_is_not_written_again(void **state)
{
	struct fixture *f = *state;

	put(f, 3,
	    "{\"conditions\":[{\"type\":\"Other\"},{\"type\":\"ZtunnelAccepted\",\"status\":"
	    "\"True\",\"reason\":\"Accepted\",\"message\":\"in force\",\"observedGeneration\":3,"
	    "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}");
	assert_int_equal(statuses_lead(f->statuses, true), 0);
	run(f, 200);
	assert_int_equal(f->n_patches, 0);
	/* somebody wrote over it */
	put(f, 3, "{\"conditions\":[{\"type\":\"ZtunnelAccepted\",\"status\":\"Maybe\"}]}");
	wait_verdict(f, V1 "True Accepted 3: in force");
}

static void test_a_new_generation_is_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(statuses_lead(f->statuses, true), 0);
	put(f, 1, NULL);
	wait_verdict(f, V1 "True Accepted 1: in force");
	put(f, 2, NULL);
	wait_verdict(f, V1 "True Accepted 2: in force");
}

static void test_what_never_had_a_good_state_has_a_status_too(void **state)
{
	struct fixture *f = *state;

	problem_add(f, POLICY, "spec.action", "expected one of", false);
	f->problems[0].generation = 7;
	problem_add(f, "/api/v1/namespaces/demo/services/p", "spec", "not ours", false);
	problem_add(f, "config/file.yaml", "spec", "not ours", false);
	assert_int_equal(statuses_lead(f->statuses, true), 0);
	wait_verdict(f, V1 "False Invalid 7: spec.action: expected one of");
	run(f, 200);
	assert_int_equal(f->n_patches, 1);
}

static void test_kinds_without_effect_say_so(void **state)
{
	struct fixture *f = *state;

	f->services = "{\"metadata\":{\"name\":\"v\",\"namespace\":\"demo\",\"generation\":7}}";
	assert_int_equal(statuses_lead(f->statuses, true), 0);
	for (int i = 0; i < 1000 && f->n_patches == 0; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_string_equal(f->path,
			    "/apis/networking.istio.io/v1/namespaces/demo/virtualservices/v"
			    "/status?fieldManager=culvert-control&force=true");
	assert_non_null(strstr(f->verdict, "networking.istio.io/v1 Accepted=False NotHonoured 7: "
					   "as of Culvert " CULVERT_VERSION
					   ": VirtualService has no effect yet: "));
	run(f, 200);
	assert_int_equal(f->n_patches, 1);
	/* and not again when the leader comes back, nor is the Gateway API's status touched */
	assert_int_equal(f->n_lists, 9);
}

static void test_kinds_without_effect_say_what_is_wrong_with_them(void **state)
{
	static const char *const before[] = {
		"",
		"{\"metadata\":{\"name\":\"w\",\"namespace\":\"demo\"},\"spec\":{\"hosts\":"
		"[\"a\"],\"news\":1}}, ",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		_cleanup_(freep) char *list = str_format(
			"%s{\"metadata\":{\"name\":\"v\",\"namespace\":\"demo\",\"generation\":7},"
			"\"spec\":{\"hosts\":5,\"http\":[{\"timeout\":\"soon\"}]}}",
			before[i]);

		f->services = list;
		f->n_patches = 0;
		assert_int_equal(statuses_lead(f->statuses, true), 0);
		for (int n = 0; n < 1000 && f->n_patches <= (int)i; n++)
			assert_true(loop_run_once(f->kube.loop, 10) >= 0);
		assert_non_null(strstr(f->path, "/virtualservices/v/status?"));
		assert_non_null(strstr(
			f->verdict, "/v1 Accepted=False Invalid 7: spec.hosts: expected a list, "
				    "got the number 5; spec.http[0].timeout: expected a duration"));
		assert_non_null(strstr(f->verdict, "VirtualService has no effect yet: "));
		run(f, 100);
		assert_int_equal(f->n_patches, i + 1);
		assert_int_equal(statuses_lead(f->statuses, false), 0);
	}
}

/* CustomResourceDefinitions of an Istio that is older than v1. */
static void test_kinds_without_effect_are_found_in_an_older_version(void **state)
{
	struct fixture *f = *state;

	f->newest = "/v1alpha3/";
	f->services = "{\"metadata\":{\"name\":\"v\",\"namespace\":\"demo\",\"generation\":7}}";
	assert_int_equal(statuses_lead(f->statuses, true), 0);
	for (int i = 0; i < 300 && f->n_patches == 0; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_string_equal(f->path,
			    "/apis/networking.istio.io/v1alpha3/namespaces/demo/virtualservices/v"
			    "/status?fieldManager=culvert-control&force=true");
	assert_true(str_has_prefix(f->verdict, "networking.istio.io/v1alpha3 Accepted=False "));
}

static void test_a_refused_write_is_tried_again_and_a_deletion_ends_it(void **state)
{
	struct fixture *f = *state;
	struct object *o = object_make(1, NULL);
	int n;

	f->status = 500;
	assert_int_equal(statuses_lead(f->statuses, true), 0);
	put(f, 1, NULL);
	for (int i = 0; i < 1000 && f->n_patches < 2; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_true(f->n_patches >= 2);
	statuses_delete(f->statuses, o);
	run(f, 50);
	n = f->n_patches;
	statuses_changed(f->statuses);
	run(f, 200);
	assert_int_equal(f->n_patches, n);
	(void)object_unref(o);
}

static void test_what_goes_on_being_refused_is_tried_less_and_less(void **state)
{
	struct fixture *f = *state;

	f->status = 422;
	assert_int_equal(statuses_lead(f->statuses, true), 0);
	for (int i = 0; i < 20; i++) {
		put(f, 1, NULL); /* others' changes are no reason */
		run(f, 100);
	}
	/* after 10, 20, 40 ms, ... and what there is between two writes */
	assert_in_range(f->n_patches, 2, 8);
	/* who mends it is answered */
	f->status = 200;
	f->verdict[0] = '\0';
	put(f, 2, NULL);
	run(f, 200);
	assert_true(str_has_prefix(f->verdict, V1 "True Accepted 2"));
}

static void test_a_message_without_end_is_cut(void **state)
{
	struct condition c = {.is_there = true};

	for (int i = 0; i < 1000; i++)
		condition_add(&c, "spec.rules", "too long");
	assert_int_equal(strlen(c.message), CONDITION_MESSAGE_MAX - 1);
}

/* Or it would not be written at all, and be tried again for ever. */
static void test_a_message_is_cut_between_characters(void **state)
{
	struct condition c = {.is_there = true}, none = {0};
	json_t *patch;

	for (int i = 0; i < 1000; i++)
		condition_add(&c, "", "\xc3\xa9\xc3\xa9");
	patch = condition_patch(&c, &none, "AuthorizationPolicy", "now");
	assert_non_null(patch);
	json_decref(patch);
	assert_string_equal(c.message + strlen(c.message) - 3, "\xc3\xa9?");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

/* An istiod that is still there says of a policy what it thinks. */
static const char other[] = "{\"conditions\":[{\"type\":\"ZtunnelAccepted\",\"status\":"
			    "\"True\",\"reason\":\"Accepted\",\"message\":\"attached\","
			    "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}";

static void test_who_writes_the_same_again_and_again_is_left_alone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(statuses_lead(f->statuses, true), 0);
	for (int i = 0; i < 20; i++) {
		put(f, 1, other);
		run(f, 150);
	}
	assert_in_range(f->n_patches, 2, 6);
	/* what is news is said */
	f->has_workloads = false;
	statuses_changed(f->statuses);
	wait_verdict(f, V1 "True NoMatchingWorkloads 1: its selector matches no pod of the mesh");
}

/* Their last word stands there, and no event says that there will be no more. */
static void test_who_has_gone_is_found_out_without_an_event(void **state)
{
	struct fixture *f = *state;

	(void)statuses_free(f->statuses);
	statuses_start(f, 2000000);
	assert_int_equal(statuses_lead(f->statuses, true), 0);
	for (int i = 0; i < 20 && f->n_patches < 5; i++) {
		put(f, 1, other);
		run(f, 150);
	}
	assert_int_equal(f->n_patches, 5);
	put(f, 1, other);
	run(f, 100);
	assert_int_equal(f->n_patches, 5);
	for (int i = 0; i < 1000 && f->n_patches < 6; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_int_equal(f->n_patches, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_each_verdict_is_written_once),
		TEST(test_news_while_a_write_is_on_its_way_is_written_after_it),
		TEST(test_what_stands_there_is_not_written_again),
		TEST(test_a_new_generation_is_told),
		TEST(test_what_never_had_a_good_state_has_a_status_too),
		TEST(test_kinds_without_effect_say_so),
		TEST(test_kinds_without_effect_say_what_is_wrong_with_them),
		TEST(test_kinds_without_effect_are_found_in_an_older_version),
		TEST(test_a_refused_write_is_tried_again_and_a_deletion_ends_it),
		TEST(test_what_goes_on_being_refused_is_tried_less_and_less),
		TEST(test_a_message_without_end_is_cut),
		TEST(test_a_message_is_cut_between_characters),
		TEST(test_who_writes_the_same_again_and_again_is_left_alone),
		TEST(test_who_has_gone_is_found_out_without_an_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

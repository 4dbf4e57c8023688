/* SPDX-License-Identifier: Apache-2.0 */
/* registration - a configuration gets our roots, and fails closed only after a wrong object was
 * refused; what others change is repaired; a revision has one of its own. */
#include "userspace/control/registration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/unit/source/fake-kube.h"

#define ROOTS_BASE64 "Uk9PVA==" /* of "ROOT" */

struct fixture {
	struct fake_kube kube;
	struct registration *registration;
	char bundle[32], policy[16]; /* of the one configuration there is */
	const char *name;            /* its name */
	const char *label;           /* of the wrong objects; NULL: none */
	int n_patches, n_tries, version;
	bool does_refuse; /* does the webhook work? */
	bool is_there;
	bool is_old;  /* the kind is served as v1beta1 only */
	bool is_away; /* it is not served at all */
	int watch_fd;
};

static void configuration(const struct fixture *f, char *buf, size_t size)
{
	(void)snprintf(buf, size,
		       "{\"metadata\":{\"name\":\"%s\",\"resourceVersion\":\"%d\"},\"webhooks\":[{"
		       "\"name\":\"validation.istio.io\",\"clientConfig\":{"
		       "\"caBundle\":\"%s\",\"service\":{\"name\":\"istiod\"}},\"failurePolicy\":"
		       "\"%s\"}]}",
		       f->name, f->version, f->bundle, f->policy);
}

static void changed(struct fixture *f)
{
	char one[512], event[640];

	f->version++;
	configuration(f, one, sizeof(one));
	(void)snprintf(event, sizeof(event), "{\"type\":\"MODIFIED\",\"object\":%s}\n", one);
	f->kube.api.watch_fd = f->watch_fd;
	fake_push(&f->kube.api, event);
}

static void on_patch(struct fixture *f, const char *body)
{
	json_t *patch = json_loads(body, 0, NULL), *one;
	const char *policy;

	assert_int_equal(json_array_size(json_object_get(patch, "webhooks")), 1);
	one = json_array_get(json_object_get(patch, "webhooks"), 0);
	assert_string_equal(json_string_value(json_object_get(one, "name")), "validation.istio.io");
	(void)str_copy(f->bundle, sizeof(f->bundle),
		       json_string_value(
			       json_object_get(json_object_get(one, "clientConfig"), "caBundle")));
	policy = json_string_value(json_object_get(one, "failurePolicy"));
	if (policy)
		(void)str_copy(f->policy, sizeof(f->policy), policy);
	json_decref(patch);
	f->n_patches++;
}

static void on_list(const struct fixture *f, int fd, const char *path)
{
	char one[512] = "", list[640];

	_cleanup_(freep) char *selector = str_format("metadata.name%%3D%s", f->name);

	assert_non_null(strstr(path, selector));
	if (f->is_there)
		configuration(f, one, sizeof(one));
	(void)snprintf(list, sizeof(list),
		       "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[%s]}", one);
	fake_answer(fd, 200, list);
}

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;

	if (streq(method, "PATCH")) {
		on_patch(f, body);
		fake_answer(fd, 200, "{}");
		changed(f);
	} else if (streq(method, "POST")) {
		assert_non_null(
			strstr(path, "/namespaces/istio-system/authorizationpolicies?dryRun=All"));
		assert_int_equal(f->label != NULL, strstr(body, "istio.io/rev") != NULL);
		assert_true(!f->label || strstr(body, f->label));
		f->n_tries++;
		if (f->is_away || (f->is_old && !strstr(path, "/v1beta1/"))) {
			fake_answer(fd, 404, "{}");
			return true;
		}
		assert_int_equal(strstr(path, "/v1beta1/") != NULL,
				 strstr(body, "\"security.istio.io/v1beta1\"") != NULL);
		fake_answer(fd, f->does_refuse ? 422 : 201,
			    f->does_refuse ? "{\"message\":\"admission webhook denied the request: "
					     "configuration is invalid: spec.rules: required\"}"
					   : "{}");
	} else if (strstr(path, "watch=1")) {
		f->watch_fd = fd;
		return false;
	} else {
		on_list(f, fd, path);
	}
	return true;
}

static int set_up_for(void **state, const char *revision, const char *name, const char *label)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct registration_config config = {
		.namespace_ = "istio-system", .revision = revision, .retry_us = 20000};

	fake_kube_start(&f->kube, on_request, f);
	f->is_there = true;
	f->name = name;
	f->label = label;
	(void)str_copy(f->policy, sizeof(f->policy), "Ignore");
	config.loop = f->kube.loop;
	config.kube = f->kube.client;
	assert_int_equal(registration_new(&config, &f->registration), 0);
	assert_int_equal(registration_set_roots(f->registration, "ROOT"), 0);
	*state = f;
	return 0;
}

static int set_up(void **state)
{
	return set_up_for(state, NULL, "istiod-default-validator", NULL);
}

static int set_up_default(void **state)
{
	return set_up_for(state, "", "istio-validator-istio-system",
			  "\"labels\":{\"istio.io/rev\":\"default\"}");
}

static int set_up_canary(void **state)
{
	return set_up_for(state, "canary", "istio-validator-canary-istio-system",
			  "\"labels\":{\"istio.io/rev\":\"canary\"}");
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)registration_free(f->registration);
	fake_kube_stop(&f->kube);
	free(f);
	return 0;
}

static void run(struct fixture *f, int ms)
{
	for (int i = 0; i < ms / 10; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
}

static void test_it_fails_closed_only_once_it_works(void **state)
{
	struct fixture *f = *state;
	int n;

	assert_int_equal(registration_lead(f->registration, true), 0);
	UNTIL(&f->kube, streq(f->bundle, ROOTS_BASE64) && f->n_tries >= 2);
	assert_string_equal(f->policy, "Ignore");
	assert_false(registration_is_seen(f->registration));
	f->does_refuse = true;
	UNTIL(&f->kube, streq(f->policy, "Fail"));
	assert_true(registration_is_seen(f->registration));
	run(f, 100);
	n = f->n_patches;
	run(f, 200);
	assert_int_equal(f->n_patches, n); /* what is right is left alone */
}

static void test_an_older_version_is_tried_where_there_is_no_newer(void **state)
{
	struct fixture *f = *state;

	f->is_old = true;
	f->does_refuse = true;
	assert_int_equal(registration_lead(f->registration, true), 0);
	UNTIL(&f->kube, streq(f->policy, "Fail"));
}

/* The definition comes later than we do. */
static void test_a_kind_that_is_not_there_is_tried_again(void **state)
{
	struct fixture *f = *state;

	f->is_away = true;
	f->does_refuse = true;
	assert_int_equal(registration_lead(f->registration, true), 0);
	UNTIL(&f->kube, f->n_tries >= 5);
	assert_string_equal(f->policy, "Ignore");
	f->is_away = false;
	UNTIL(&f->kube, streq(f->policy, "Fail"));
}

static void test_what_others_change_is_repaired(void **state)
{
	struct fixture *f = *state;

	f->does_refuse = true;
	assert_int_equal(registration_lead(f->registration, true), 0);
	UNTIL(&f->kube, streq(f->policy, "Fail"));
	run(f, 50);
	/* as an upgrade of the chart does */
	f->bundle[0] = '\0';
	(void)str_copy(f->policy, sizeof(f->policy), "Ignore");
	changed(f);
	UNTIL(&f->kube, streq(f->bundle, ROOTS_BASE64) && streq(f->policy, "Fail"));
	assert_int_equal(registration_set_roots(f->registration, "ROOT2"), 0);
	UNTIL(&f->kube, !streq(f->bundle, ROOTS_BASE64));
}

static void test_a_follower_writes_nothing(void **state)
{
	struct fixture *f = *state;

	run(f, 100);
	assert_int_equal(registration_lead(f->registration, true), 0);
	assert_int_equal(registration_lead(f->registration, false), 0);
	run(f, 100);
	assert_int_equal(f->n_patches + f->n_tries, 0);
}

static void test_without_configurations_nothing_is_tried(void **state)
{
	struct fixture *f = *state;

	f->is_there = false;
	assert_int_equal(registration_lead(f->registration, true), 0);
	run(f, 200);
	assert_int_equal(f->n_patches + f->n_tries, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_it_fails_closed_only_once_it_works),
		cmocka_unit_test_setup_teardown(test_it_fails_closed_only_once_it_works,
						set_up_default, tear_down),
		cmocka_unit_test_setup_teardown(test_it_fails_closed_only_once_it_works,
						set_up_canary, tear_down),
		TEST(test_an_older_version_is_tried_where_there_is_no_newer),
		TEST(test_a_kind_that_is_not_there_is_tried_again),
		TEST(test_what_others_change_is_repaired),
		TEST(test_a_follower_writes_nothing),
		TEST(test_without_configurations_nothing_is_tried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

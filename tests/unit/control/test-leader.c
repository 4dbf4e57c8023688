/* SPDX-License-Identifier: Apache-2.0 */
/* leader - the Lease at an API server: made, kept, lost to another or with the API server, given
 * back. */
#include "userspace/control/leader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log.h"
#include "tests/unit/fast-clock.h"
#include "tests/unit/source/fake-kube.h"
#include "userspace/control/election.h"

struct fixture {
	struct fake_kube kube;
	struct leader *one, *two;
	json_t *lease;
	int version, n_writes, is_one, is_two;
	bool is_down, is_silent;
};

static void lease_answer(struct fixture *f, int fd, int status)
{
	char *text = json_dumps(f->lease, JSON_COMPACT);

	fake_answer(fd, status, text);
	free(text);
}

static void lease_put(struct fixture *f, json_t *lease)
{
	char version[16];

	(void)snprintf(version, sizeof(version), "%d", ++f->version);
	(void)json_object_set_new(json_object_get(lease, "metadata"), "resourceVersion",
				  json_string(version));
	json_decref(f->lease);
	f->lease = lease;
}

static bool is_same_version(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(json_object_get(a, "metadata"), "resourceVersion"),
			  json_object_get(json_object_get(b, "metadata"), "resourceVersion"));
}

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;
	json_t *lease;

	assert_true(str_has_prefix(path,
				   "/apis/coordination.k8s.io/v1/namespaces/istio-system/leases"));
	if (f->is_silent)
		return true;
	if (f->is_down) {
		fake_answer(fd, 500, "{}");
	} else if (streq(method, "GET")) {
		if (f->lease)
			lease_answer(f, fd, 200);
		else
			fake_answer(fd, 404, "{}");
	} else {
		lease = json_loads(body, 0, NULL);
		assert_non_null(lease);
		f->n_writes++;
		if (f->lease && !is_same_version(lease, f->lease)) {
			json_decref(lease);
			fake_answer(fd, 409, "{}");
			return true;
		}
		lease_put(f, lease);
		lease_answer(f, fd, streq(method, "POST") ? 201 : 200);
	}
	return true;
}

static void on_one(void *arg, bool is_leader)
{
	((struct fixture *)arg)->is_one = is_leader;
}

static void on_two(void *arg, bool is_leader)
{
	((struct fixture *)arg)->is_two = is_leader;
}

static void start(struct fixture *f, const char *name, void (*on_change)(void *arg, bool is_leader),
		  struct leader **ret)
{
	const struct leader_config config = {.loop = f->kube.loop,
					     .kube = f->kube.client,
					     .namespace_ = "istio-system",
					     .identity = name,
					     .retry_us = 30000,
					     .on_change = on_change,
					     .arg = f};

	assert_int_equal(leader_new(&config, ret), 0);
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

	(void)leader_free(f->one);
	(void)leader_free(f->two);
	fake_kube_stop(&f->kube);
	json_decref(f->lease);
	free(f);
	return 0;
}

static const char *holder(const struct fixture *f)
{
	return json_string_value(
		json_object_get(json_object_get(f->lease, "spec"), "holderIdentity"));
}

static void test_one_of_two_leads_and_the_other_follows_when_it_goes(void **state)
{
	struct fixture *f = *state;

	start(f, "one", on_one, &f->one);
	UNTIL(&f->kube, f->is_one);
	start(f, "two", on_two, &f->two);
	UNTIL(&f->kube, streq(leader_holder(f->two), "one"));
	assert_false(f->is_two);
	assert_false(leader_is_leader(f->two));
	leader_release(f->one);
	assert_false(f->is_one);
	UNTIL(&f->kube, f->is_two);
	assert_string_equal(holder(f), "two");
}

static void test_it_is_renewed_and_lost_to_whoever_took_it(void **state)
{
	struct fixture *f = *state;
	json_t *other;

	start(f, "one", on_one, &f->one);
	UNTIL(&f->kube, f->is_one);
	UNTIL(&f->kube, f->n_writes >= 2);
	other = json_deep_copy(f->lease);
	(void)json_object_set_new(json_object_get(other, "spec"), "holderIdentity",
				  json_string("another"));
	lease_put(f, other);
	UNTIL(&f->kube, !f->is_one);
	assert_string_equal(holder(f), "another");
}

static void test_the_same_pod_is_the_leader_again_at_once(void **state)
{
	struct fixture *f = *state;

	start(f, "one", on_one, &f->one);
	UNTIL(&f->kube, f->is_one);
	/* killed, without a word */
	f->one = leader_free(f->one);
	f->is_one = false;
	start(f, "one", on_one, &f->one);
	UNTIL(&f->kube, f->is_one);
}

static void test_a_server_that_fails_makes_no_leader(void **state)
{
	struct fixture *f = *state;

	log_set_level(LOG_OFF);
	f->is_down = true;
	start(f, "one", on_one, &f->one);
	for (int i = 0; i < 30; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_false(f->is_one);
	f->is_down = false;
	UNTIL(&f->kube, f->is_one);
}

/* It leads no longer before the Lease that it holds is free for another. */
static void steps_down_in_time(struct fixture *f, bool *trouble)
{
	uint64_t before_us;

	start(f, "one", on_one, &f->one);
	UNTIL(&f->kube, f->is_one);
	UNTIL(&f->kube, f->n_writes >= 2);
	before_us = now_monotonic_us();
	*trouble = true;
	the_clock.is_fast = true;
	for (int i = 0; i < 10000 && f->is_one; i++)
		assert_true(loop_run_once(f->kube.loop, 1000) >= 0);
	the_clock.is_fast = false;
	assert_false(f->is_one);
	assert_true(now_monotonic_us() - before_us < ELECTION_LEASE_S * 1000000ULL);
}

static void test_a_leader_whose_server_fails_steps_down_in_time(void **state)
{
	struct fixture *f = *state;

	steps_down_in_time(f, &f->is_down);
	f->is_down = false;
	UNTIL(&f->kube, f->is_one);
}

static void test_a_leader_that_hears_nothing_steps_down_in_time(void **state)
{
	struct fixture *f = *state;

	steps_down_in_time(f, &f->is_silent);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_of_two_leads_and_the_other_follows_when_it_goes),
		TEST(test_it_is_renewed_and_lost_to_whoever_took_it),
		TEST(test_the_same_pod_is_the_leader_again_at_once),
		TEST(test_a_server_that_fails_makes_no_leader),
		TEST(test_a_leader_whose_server_fails_steps_down_in_time),
		TEST(test_a_leader_that_hears_nothing_steps_down_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

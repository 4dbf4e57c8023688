/* SPDX-License-Identifier: Apache-2.0 */
/* keeper - an agent that ends takes all away when it knows that none is to come back, and only
 * then. The API server is the test's. */
#include "userspace/agent/keeper.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "tests/unit/source/fake-kube.h"

#define ONE "/apis/apps/v1/namespaces/istio-system/daemonsets/ztunnel"
#define DAEMONSET(version, more, spec)                                                             \
	"{\"metadata\":{\"name\":\"ztunnel\",\"namespace\":\"istio-system\","                      \
	"\"resourceVersion\":\"" version "\"" more "}" spec "}"
#define THERE(version) DAEMONSET(version, "", "")
#define GOING(version) DAEMONSET(version, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "")
#define ORPHANS(version)                                                                           \
	DAEMONSET(version,                                                                         \
		  ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"finalizers\":[\"orphan\"]",   \
		  "")
#define ELSEWHERE                                                                                  \
	DAEMONSET("5", "", ",\"spec\":{\"template\":{\"spec\":{\"nodeSelector\":{\"a\":\"b\"}}}}")
#define LIST(version, items)                                                                       \
	"{\"metadata\":{\"resourceVersion\":\"" version "\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define NOT_FOUND                                                                                  \
	"{\"kind\":\"Status\",\"reason\":\"NotFound\",\"details\":{\"name\":\"ztunnel\","          \
	"\"group\":\"apps\",\"kind\":\"daemonsets\"},\"code\":404}"
#define REFUSED "{\"kind\":\"Status\",\"message\":\"you may not\"}"

struct fixture {
	struct fake_kube kube;
	struct keeper *keeper;
	char accept[2][256]; /* of the list, of the watch */
	int status;          /* of what is asked at the end; 0: nobody answers */
	const char *body;
};

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;

	(void)str_copy(f->accept[strstr(path, "watch=1") != NULL], sizeof(f->accept[0]),
		       a->last_accept);
	if (streq(path, "/api/v1/nodes/n1"))
		fake_answer(fd, 200, "{\"metadata\":{\"name\":\"n1\"}}");
	else if (!streq(path, ONE))
		return false;
	else if (f->status)
		fake_answer(fd, f->status, f->body);
	else
		(void)shutdown(fd, SHUT_RDWR);
	return true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct keeper_config config = {.node = "n1", .daemonset = "istio-system/ztunnel"};

	assert_non_null(f);
	fake_kube_start(&f->kube, on_request, f);
	f->kube.api.pages[0] = LIST("7", THERE("5"));
	config.loop = f->kube.loop;
	config.client = f->kube.client;
	assert_int_equal(keeper_new(&config, &f->keeper), 0);
	UNTIL(&f->kube, f->kube.api.n_watches == 1);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	keeper_free(f->keeper);
	fake_kube_stop(&f->kube);
	free(f);
	return 0;
}

static bool has_left(struct fixture *f, int status, const char *body)
{
	f->status = status;
	f->body = body;
	return keeper_has_left(f->keeper, false);
}

/* The API server may not be asked any more. */
static bool has_left_refused(struct fixture *f)
{
	bool by_account = has_left(f, 401, REFUSED), by_role = has_left(f, 403, REFUSED);

	assert_int_equal(by_account, by_role);
	return by_role;
}

/* Events of the watch, and until they are heard: what follows them is told in order. */
static void hear(struct fixture *f, const char *events)
{
	size_t watches = f->kube.api.n_watches;

	fake_push(&f->kube.api, events);
	fake_end(&f->kube.api);
	UNTIL(&f->kube, f->kube.api.n_watches > watches);
}

/* It changes with every pod of it, and each node watches it. */
static void of_its_daemonset_it_watches_the_metadata_alone(void **state)
{
	const struct fixture *f = *state;

	assert_string_equal(f->accept[0],
			    "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;"
			    "v=v1,application/json");
	assert_string_equal(f->accept[1],
			    "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
			    "application/json");
}

static void what_the_server_says_holds(void **state)
{
	struct fixture *f = *state;

	assert_false(has_left(f, 200, THERE("5")));
	assert_true(has_left(f, 200, GOING("8")));
	assert_true(has_left(f, 200, ELSEWHERE));
	assert_true(has_left(f, 404, NOT_FOUND));
}

static void no_answer_is_a_restart(void **state)
{
	struct fixture *f = *state;

	assert_false(has_left_refused(f));
	assert_false(has_left(f, 503, REFUSED));
	assert_false(has_left(f, 0, NULL));
	assert_false(has_left(f, 404, "404 page not found"));
	assert_false(has_left(f, 404, "{\"kind\":\"Status\",\"reason\":\"NotFound\"}"));
	assert_false(keeper_has_left(NULL, true));
}

static void its_own_only_is_listened_to(void **state)
{
	struct fixture *f = *state;

	assert_non_null(
		strstr(f->kube.api.last_list, "/apis/apps/v1/namespaces/istio-system/daemonsets?"));
	assert_non_null(strstr(f->kube.api.last_list, "fieldSelector=metadata.name%3Dztunnel"));
	assert_non_null(strstr(f->kube.api.last_watch, "fieldSelector=metadata.name%3Dztunnel"));
}

static void its_end_is_known_when_the_rights_have_gone(void **state)
{
	struct fixture *f = *state;

	hear(f, EVENT("DELETED", THERE("8")));
	assert_true(has_left_refused(f));
	/* who has the rights to ask is told how it is now */
	assert_false(has_left(f, 200, THERE("9")));
}

static void so_is_one_that_waits_for_its_pods(void **state)
{
	struct fixture *f = *state;

	hear(f, EVENT("MODIFIED", GOING("8")));
	assert_true(has_left_refused(f));
}

static void a_server_that_is_in_trouble_is_not_one_that_refuses(void **state)
{
	struct fixture *f = *state;

	hear(f, EVENT("DELETED", THERE("8")));
	assert_false(has_left(f, 503, REFUSED));
	assert_false(has_left(f, 429, REFUSED));
	assert_false(has_left(f, 0, NULL));
}

static void one_that_is_made_again_stays(void **state)
{
	struct fixture *f = *state;

	hear(f, EVENT("DELETED", THERE("8")) EVENT("ADDED", THERE("9")));
	assert_false(has_left_refused(f));
}

/* Restored from a state before its end. */
static void so_does_one_that_is_listed_again(void **state)
{
	struct fixture *f = *state;

	hear(f, EVENT("DELETED", THERE("8")));
	f->kube.api.pages[1] = LIST("7", THERE("5"));
	hear(f, EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"));
	assert_int_equal(f->kube.api.n_lists, 2);
	assert_false(has_left_refused(f));
}

/* A server that has lost what it had, or does not know the kind yet. */
static void a_list_without_it_is_not_its_end(void **state)
{
	struct fixture *f = *state;

	f->kube.api.pages[1] = LIST("90", "");
	hear(f, EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"));
	assert_int_equal(f->kube.api.n_lists, 2);
	assert_false(has_left_refused(f));
}

static void nor_is_a_watch_that_is_cut(void **state)
{
	struct fixture *f = *state;

	f->kube.api.watch_status = f->kube.api.list_status = 403;
	fake_cut(&f->kube.api);
	UNTIL(&f->kube, f->kube.api.n_lists > 1);
	assert_false(has_left_refused(f));
}

/* Another one is to take them. */
static void one_that_leaves_its_pods_behind_is_not_the_end(void **state)
{
	struct fixture *f = *state;

	assert_false(has_left(f, 200, ORPHANS("8")));
	hear(f, EVENT("MODIFIED", ORPHANS("8")) EVENT("DELETED", THERE("9")));
	assert_false(has_left_refused(f));
	assert_false(has_left(f, 404, NOT_FOUND));
	hear(f, EVENT("ADDED", THERE("10")) EVENT("DELETED", ORPHANS("11")));
	assert_false(has_left_refused(f));
	hear(f, EVENT("ADDED", THERE("12")) EVENT("DELETED", THERE("13")));
	assert_true(has_left_refused(f));
}

static void in_a_namespace_that_ends_none_is_made(void **state)
{
	static const struct {
		const char *body;
		int status;
		bool has_left;
	} answers[] = {
		{THERE("5"), 200, true}, {NOT_FOUND, 404, true}, {REFUSED, 401, true},
		{REFUSED, 403, true},    {REFUSED, 503, false},  {NULL, 0, false},
		{"no page", 404, false},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		f->status = answers[i].status;
		f->body = answers[i].body;
		assert_int_equal(keeper_has_left(f->keeper, true), answers[i].has_left);
	}
}

static void a_name_has_a_namespace(void **state)
{
	struct fixture *f = *state;
	struct keeper *k = NULL;

	assert_int_equal(keeper_new(&(struct keeper_config){.loop = f->kube.loop,
							    .client = f->kube.client,
							    .node = "n1",
							    .daemonset = "ztunnel"},
				    &k),
			 -EINVAL);
	assert_null(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_its_daemonset_it_watches_the_metadata_alone,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_the_server_says_holds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_answer_is_a_restart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(its_own_only_is_listened_to, set_up, tear_down),
		cmocka_unit_test_setup_teardown(its_end_is_known_when_the_rights_have_gone, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(so_is_one_that_waits_for_its_pods, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_server_that_is_in_trouble_is_not_one_that_refuses,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_is_made_again_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(so_does_one_that_is_listed_again, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_list_without_it_is_not_its_end, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(nor_is_a_watch_that_is_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_leaves_its_pods_behind_is_not_the_end,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_a_namespace_that_ends_none_is_made, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_name_has_a_namespace, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* objects, objects_left - what becomes of a cluster's pods when their objects go. The API server is
 * the test's; the test's own network namespace stands for a pod's. */
#include "userspace/agent/objects.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/unit/agent/told.h"
#include "tests/unit/source/fake-kube.h"
#include "userspace/agent/procs.h"

#define NAMESPACE(version, label)                                                                  \
	"{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"demo\","           \
	"\"resourceVersion\":\"" version "\",\"labels\":{\"istio-injection\":\"" label "\"}}}"
#define RELEASED(version)                                                                          \
	"{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"istio-system\","   \
	"\"resourceVersion\":\"" version "\",\"labels\":{\"culvert.io/mesh\":\"released\"}}}"
#define ENDING(version)                                                                            \
	"{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"istio-system\","   \
	"\"resourceVersion\":\"" version "\",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}}"
#define REMAINING(version)                                                                         \
	"{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"istio-system\","   \
	"\"resourceVersion\":\"" version "\"}}"
#define POD(version, uid, more)                                                                    \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\","                    \
	"\"namespace\":\"demo\",\"uid\":\"" uid "\",\"resourceVersion\":\"" version "\"},"         \
	"\"spec\":{\"nodeName\":\"n1\"}" more "}"
#define IP(ip)              ",\"status\":{\"podIP\":\"" ip "\"}"
#define LIST(item)          "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[" item "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define UID_A               "11111111-1111-1111-1111-111111111111"
#define UID_B               "22222222-2222-2222-2222-222222222222"
#define LEFT                "demo/a#" UID_A

struct fixture {
	struct loop *loop;
	struct objects *objects;
	struct fake_api api;
	int watches[2]; /* of Namespaces, of Pods */
	int netns_fd;
	struct told told;
	bool is_left;
	bool is_unstarted; /* the last pod that was told of */
	char path[40];
};

static void on_pod_left(void *arg, const char *key, const char *left_key)
{
	note(arg, "?", key);
	note(arg, "=", left_key);
}

static bool is_left(void *arg, const char *left_key)
{
	return container_of(arg, struct fixture, told)->is_left;
}

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;
	bool is_pods = strstr(path, "/pods") != NULL;

	if (strstr(path, "watch=1")) {
		fake_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		f->watches[is_pods] = fd;
	} else {
		fake_answer(fd, 200,
			    is_pods ? LIST(POD("5", UID_A, "")) : LIST(NAMESPACE("5", "enabled")));
	}
	return true;
}

static void push(struct fixture *f, bool is_pods, const char *event)
{
	f->api.watch_fd = f->watches[is_pods];
	fake_push(&f->api, event);
}

/* The pod's, and that has been heard: what two watches tell has no order. */
static void namespace_goes(struct fixture *f)
{
	push(f, false, EVENT("DELETED", NAMESPACE("8", "enabled")) EVENT("ADDED", ENDING("9")));
	UNTIL(f, objects_is_ending(f->objects));
}

/* Until @want has been called, and not less. */
static void assert_calls(struct fixture *f, const char *want)
{
	for (int i = 0; i < 3000 && strlen(f->told.calls) < strlen(want); i++)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_string_equal(f->told.calls, want);
	f->told.calls[0] = '\0';
}

static void sandbox_add(struct fixture *f, const char *uid, const char *container)
{
	const struct objects_sandbox s = {
		.key = "demo/a", .uid = uid, .container = container, .netns_fd = f->netns_fd};
	char why[200];

	assert_int_equal(objects_sandbox_add(f->objects, &s, why, sizeof(why)), 1);
}

static const char *left_of(struct fixture *f, const char *container)
{
	const struct objects_sandbox s = {
		.key = "demo/a", .uid = UID_A, .container = container, .netns_fd = -1};

	return objects_left_of(f->objects, &s);
}

/* Whose processes the test's own are; "": nobody's. */
static const char *process_of = "";

pid_t __wrap_procs_find(struct procs *p, const char *uid, uint64_t now_us);

/* It is in the test's own network namespace, or in another: nobody's. */
static pid_t oldest;
static unsigned int asked;

pid_t __wrap_procs_find(struct procs *p, const char *uid, uint64_t now_us)
{
	asked++;
	if (!streq(uid, process_of))
		return 0;
	return oldest ? oldest : getpid();
}

bool __wrap_procs_any(struct procs *p, const char *uid, uint64_t now_us,
		      bool (*fn)(void *arg, pid_t pid), void *arg);

bool __wrap_procs_any(struct procs *p, const char *uid, uint64_t now_us,
		      bool (*fn)(void *arg, pid_t pid), void *arg)
{
	return streq(uid, process_of) && (fn(arg, oldest) || fn(arg, getpid()));
}

/* Has the namespace the addresses that the pod's status says? */
static bool does_fit = true;

bool __wrap_enrolment_fits(const struct enrolment_context *ctx, const struct podspec *spec,
			   const char *netns);

bool __wrap_enrolment_fits(const struct enrolment_context *ctx, const struct podspec *spec,
			   const char *netns)
{
	return does_fit;
}

static void on_pod_put(void *arg, struct podspec *spec)
{
	container_of(arg, struct fixture, told)->is_unstarted = spec->is_unstarted;
	on_pod(arg, spec);
}

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct objects_config config;
	FILE *file;
	int fd;

	log_set_level(LOG_OFF);
	(void)str_copy(f->path, sizeof(f->path), "/tmp/culvert-objects-left-XXXXXX");
	fd = mkstemp(f->path);
	if (fd < 0 || loop_new(&f->loop) < 0)
		return -1;
	fake_start(&f->api, f->loop);
	f->api.on_request = on_request;
	f->api.arg = f;
	file = fdopen(fd, "w");
	if (!file)
		return -1;
	(void)fprintf(file, KUBECONFIG, f->api.url);
	(void)fclose(file);
	f->netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	config = told_config(f->loop, &f->told);
	config.on_pod_left = on_pod_left;
	config.is_left = is_left;
	config.on_pod = on_pod_put;
	config.kubeconfig = f->path;
	if (f->netns_fd < 0 || objects_new(&config, &f->objects) < 0)
		return -1;
	for (int i = 0; i < 3000 && !(f->told.synced && f->watches[0] && f->watches[1]); i++)
		if (loop_run_once(f->loop, 10) < 0)
			return -1;
	f->told.calls[0] = '\0';
	f->is_left = true;
	*state = f;
	sandbox_add(f, UID_A, "c1");
	assert_calls(f, "+demo/a ");
	return 0;
}

static int end(void **state)
{
	struct fixture *f = *state;

	objects_free(f->objects);
	fake_stop(&f->api);
	loop_free(f->loop);
	(void)close(f->netns_fd);
	(void)unlink(f->path);
	free(f);
	return 0;
}

static void one_that_is_deleted_has_left(void **state)
{
	struct fixture *f = *state;

	push(f, true, EVENT("DELETED", POD("8", UID_A, "")));
	assert_calls(f, "?demo/a =" LEFT " ");
	assert_null(objects_pod(f->objects, "demo/a"));
	assert_null(left_of(f, "c2"));
	assert_string_equal(left_of(f, "c1"), LEFT);
	f->is_left = false; /* its namespace has gone */
	assert_null(left_of(f, "c1"));
}

static void so_has_one_that_says_it_has_ended(void **state)
{
	struct fixture *f = *state;

	push(f, true, EVENT("MODIFIED", POD("8", UID_A, ",\"status\":{\"phase\":\"Failed\"}")));
	assert_calls(f, "?demo/a =" LEFT " ");
}

static void and_one_that_another_of_its_name_follows(void **state)
{
	struct fixture *f = *state;

	push(f, true, EVENT("MODIFIED", POD("8", UID_B, "")));
	assert_calls(f, "?demo/a =" LEFT " ");
	sandbox_add(f, UID_B, "c2");
	assert_calls(f, "+demo/a ");
	assert_string_equal(left_of(f, "c1"), LEFT);
}

static void sandbox_del(struct fixture *f, const char *container)
{
	const struct objects_sandbox s = {
		.key = "demo/a", .uid = UID_A, .container = container, .netns_fd = -1};

	assert_true(objects_sandbox_del(f->objects, &s));
}

/* Its runtime has taken the last sandbox down; an earlier one of it may live. */
static void one_that_had_ended_leaves_what_there_is(void **state)
{
	struct fixture *f = *state;

	sandbox_del(f, "c1");
	push(f, true, EVENT("DELETED", POD("8", UID_A, "")));
	assert_calls(f, "?demo/a =" LEFT " ");
	push(f, false, EVENT("MODIFIED", NAMESPACE("9", "disabled")));
	assert_calls(f, "-" LEFT " ");
}

static void and_one_without_anything_goes(void **state)
{
	struct fixture *f = *state;

	f->is_left = false;
	sandbox_del(f, "c1");
	push(f, true, EVENT("DELETED", POD("8", UID_A, "")));
	assert_calls(f, "-demo/a ");
}

static void a_label_that_goes_releases_it(void **state)
{
	struct fixture *f = *state;

	push(f, true, EVENT("DELETED", POD("8", UID_A, "")));
	assert_calls(f, "?demo/a =" LEFT " ");
	push(f, false, EVENT("MODIFIED", NAMESPACE("9", "disabled")));
	assert_calls(f, "-" LEFT " ");
	assert_null(left_of(f, "c1"));
}

/* What follows is told in the same order. */
static void a_namespace_that_goes_releases_nothing(void **state)
{
	struct fixture *f = *state;

	push(f, false,
	     EVENT("DELETED", NAMESPACE("8", "enabled")) EVENT("ADDED", NAMESPACE("9", "enabled")));
	assert_calls(f, "+demo/a ");
	push(f, true, EVENT("DELETED", POD("10", UID_A, "")));
	assert_calls(f, "?demo/a =" LEFT " ");
	push(f, false,
	     EVENT("DELETED", NAMESPACE("11", "enabled"))
		     EVENT("ADDED", NAMESPACE("12", "disabled")));
	assert_calls(f, "-" LEFT " ");
}

/* What was written of the pod before may be told after the end of its Namespace. */
static void nor_does_what_is_told_of_its_pods_after_that(void **state)
{
	struct fixture *f = *state;

	namespace_goes(f);
	push(f, true, EVENT("MODIFIED", POD("8", UID_A, ",\"status\":{\"phase\":\"Running\"}")));
	push(f, true, EVENT("DELETED", POD("9", UID_A, "")));
	assert_calls(f, "?demo/a =" LEFT " ");
}

static bool is_outside(struct fixture *f)
{
	const char *cut = "demo/a";
	struct netns_file file;

	assert_int_equal(netns_file_of(f->netns_fd, &file), 0);
	return objects_is_outside(f->objects, cut, strlen(cut), &file);
}

/* What an agent that has started since finds captured. */
static void an_object_that_has_gone_says_nothing_of_its_namespace(void **state)
{
	struct fixture *f = *state;

	process_of = UID_A;
	assert_false(is_outside(f)); /* of one that is to be in the mesh */
	push(f, true, EVENT("DELETED", POD("8", UID_A, "")));
	assert_calls(f, "?demo/a =" LEFT " ");
	assert_false(is_outside(f));
	process_of = "";
}

static void one_that_is_there_and_not_of_the_mesh_does(void **state)
{
	struct fixture *f = *state;

	push(f, false, EVENT("MODIFIED", NAMESPACE("8", "disabled")));
	assert_calls(f, "-demo/a ");
	assert_false(is_outside(f)); /* it may be another's of its name, which lingers */
	process_of = UID_A;
	assert_true(is_outside(f));
	process_of = "";
}

/* The oldest one has made a namespace of its own. */
static void whichever_of_its_processes_is_there(void **state)
{
	struct fixture *f = *state;

	push(f, false, EVENT("MODIFIED", NAMESPACE("8", "disabled")));
	assert_calls(f, "-demo/a ");
	process_of = UID_A;
	oldest = INT_MAX;
	assert_true(is_outside(f));
	process_of = "";
	assert_false(is_outside(f));
	oldest = 0;
}

static bool is_here(void *arg, const char *netns)
{
	return netns_file_is_same(netns, arg);
}

static void where_else_a_pod_may_be_is_told(void **state)
{
	struct fixture *f = *state;
	struct netns_file file = {0};

	process_of = UID_A;
	oldest = INT_MAX;
	assert_false(objects_elsewhere(f->objects, "demo/a", is_here, &file));
	assert_int_equal(netns_file_of(f->netns_fd, &file), 0);
	assert_true(objects_elsewhere(f->objects, "demo/a", is_here, &file));
	assert_false(objects_elsewhere(f->objects, "demo/b", is_here, &file));
	process_of = "";
	oldest = 0;
}

static void one_whose_namespace_is_not_known_does_not(void **state)
{
	struct fixture *f = *state;

	namespace_goes(f);
	push(f, true, EVENT("MODIFIED", POD("9", UID_B, "")));
	assert_calls(f, "?demo/a =" LEFT " -demo/a ");
	process_of = UID_B;
	assert_false(is_outside(f));
	process_of = "";
}

static void so_does_the_end_of_the_mesh(void **state)
{
	struct fixture *f = *state;

	push(f, true, EVENT("DELETED", POD("8", UID_A, "")));
	assert_calls(f, "?demo/a =" LEFT " ");
	assert_false(is_outside(f));
	assert_null(objects_trouble(f->objects));
	push(f, false, EVENT("ADDED", RELEASED("9")));
	assert_calls(f, "-" LEFT " ");
	assert_true(is_outside(f));
	/* an uninstallation that was broken off leaves the label, and every pod in plaintext */
	assert_non_null(strstr(objects_trouble(f->objects), "culvert.io/mesh=released"));
	push(f, false, EVENT("MODIFIED", REMAINING("10")));
	UNTIL(f, !objects_trouble(f->objects));
}

/* Something may hold it up for long, while its agents and ztunnels serve. */
static void the_end_of_its_namespace_is_known_and_releases_nothing(void **state)
{
	struct fixture *f = *state;

	assert_false(objects_is_ending(f->objects));
	push(f, false, EVENT("ADDED", REMAINING("8")) EVENT("MODIFIED", ENDING("9")));
	UNTIL(f, objects_is_ending(f->objects));
	push(f, false, EVENT("DELETED", ENDING("10")));
	push(f, true, EVENT("MODIFIED", POD("11", UID_A, ",\"status\":{\"phase\":\"Running\"}")));
	assert_calls(f, "+demo/a ");
	assert_true(objects_is_ending(f->objects));
	assert_false(objects_is_released(f->objects));
	/* another of its name */
	push(f, false, EVENT("ADDED", REMAINING("12")));
	UNTIL(f, !objects_is_ending(f->objects));
}

/* Its process is there before the network is, or its status is late: where the earlier sandbox was
 * says nothing of this one, and would keep it from its start. */
static void a_sandbox_made_anew_is_not_where_its_status_still_says(void **state)
{
	struct fixture *f = *state;

	push(f, true, EVENT("MODIFIED", POD("8", UID_A, IP("192.0.2.1"))));
	assert_calls(f, "+demo/a ");
	process_of = UID_A;
	does_fit = false;
	sandbox_add(f, UID_A, "c2");
	assert_calls(f, "+demo/a ");
	assert_true(f->is_unstarted);
	does_fit = true;
	assert_calls(f, "+demo/a ");
	assert_false(f->is_unstarted);
	process_of = "";
}

static unsigned int asked_in(struct fixture *f, uint64_t us)
{
	uint64_t until_us = now_monotonic_us() + us;

	asked = 0;
	while (now_monotonic_us() < until_us)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	return asked;
}

/* Each time all processes of the node are gone through. */
static void for_a_process_that_does_not_come_is_looked_less_and_less_often(void **state)
{
	struct fixture *f = *state;

	push(f, true, EVENT("MODIFIED", POD("8", UID_A, IP("192.0.2.1"))));
	assert_calls(f, "+demo/a ");
	assert_in_range(asked_in(f, 2500000), 2, 5);
	/* something has happened to it */
	push(f, true, EVENT("MODIFIED", POD("9", UID_A, IP("192.0.2.2"))));
	assert_in_range(asked_in(f, 1000000), 2, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_that_is_deleted_has_left, begin, end),
		cmocka_unit_test_setup_teardown(so_has_one_that_says_it_has_ended, begin, end),
		cmocka_unit_test_setup_teardown(and_one_that_another_of_its_name_follows, begin,
						end),
		cmocka_unit_test_setup_teardown(one_that_had_ended_leaves_what_there_is, begin,
						end),
		cmocka_unit_test_setup_teardown(and_one_without_anything_goes, begin, end),
		cmocka_unit_test_setup_teardown(a_label_that_goes_releases_it, begin, end),
		cmocka_unit_test_setup_teardown(a_namespace_that_goes_releases_nothing, begin, end),
		cmocka_unit_test_setup_teardown(nor_does_what_is_told_of_its_pods_after_that, begin,
						end),
		cmocka_unit_test_setup_teardown(
			an_object_that_has_gone_says_nothing_of_its_namespace, begin, end),
		cmocka_unit_test_setup_teardown(one_that_is_there_and_not_of_the_mesh_does, begin,
						end),
		cmocka_unit_test_setup_teardown(whichever_of_its_processes_is_there, begin, end),
		cmocka_unit_test_setup_teardown(where_else_a_pod_may_be_is_told, begin, end),
		cmocka_unit_test_setup_teardown(one_whose_namespace_is_not_known_does_not, begin,
						end),
		cmocka_unit_test_setup_teardown(so_does_the_end_of_the_mesh, begin, end),
		cmocka_unit_test_setup_teardown(
			the_end_of_its_namespace_is_known_and_releases_nothing, begin, end),
		cmocka_unit_test_setup_teardown(
			a_sandbox_made_anew_is_not_where_its_status_still_says, begin, end),
		cmocka_unit_test_setup_teardown(
			for_a_process_that_does_not_come_is_looked_less_and_less_often, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

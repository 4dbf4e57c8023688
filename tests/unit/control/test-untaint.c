/* SPDX-License-Identifier: Apache-2.0 */
/* untaint - the taint goes once ztunnel's pod on that node is ready, and nothing else with it. */
#include "userspace/control/untaint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "source/json_pool.h"
#include "tests/unit/source/fake-kube.h"

#define KEY    "cni.istio.io/not-ready"
#define OURS   "{\"key\":\"" KEY "\",\"value\":\"true\",\"effect\":\"NoSchedule\"}"
#define OTHERS "{\"key\":\"gpu\",\"effect\":\"NoExecute\"}"

struct fixture {
	struct fake_kube kube;
	struct json_pool *pool;
	struct untaint *untaint;
	char written[512]; /* nodes, in order */
	char body[512];    /* of the last */
	int status;
};

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;
	char name[64] = "";
	size_t n = strlen(f->written);

	assert_string_equal(method, "PATCH");
	assert_int_equal(sscanf(path, "/api/v1/nodes/%63[^?]", name), 1);
	(void)snprintf(f->written + n, sizeof(f->written) - n, "%s ", name);
	assert_int_equal(str_copy(f->body, sizeof(f->body), body), 0);
	fake_answer(fd, f->status, "{\"message\":\"no\"}");
	return true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct untaint_config config = {.namespace_ = "istio-system", .key = KEY};

	fake_kube_start(&f->kube, on_request, f);
	f->status = 200;
	assert_int_equal(json_pool_new(&f->pool), 0);
	config.loop = f->kube.loop;
	config.kube = f->kube.client;
	assert_int_equal(untaint_new(&config, &f->untaint), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)untaint_free(f->untaint);
	(void)json_pool_free(f->pool);
	fake_kube_stop(&f->kube);
	free(f);
	return 0;
}

static struct object *made(json_t *body)
{
	struct object *o;

	assert_int_equal(object_new_json(body, &o), 0);
	return o;
}

static void node_put(struct fixture *f, const char *name, const char *taints)
{
	json_t *list = json_loads(taints, 0, NULL);
	struct object *o;

	assert_non_null(list);
	o = made(json_pack("{s:s,s:{s:s},s:{s:o}}", "kind", "Node", "metadata", "name", name,
			   "spec", "taints", list));
	untaint_put(f->untaint, o);
	(void)object_unref(o);
}

/** struct of_pod - what a case varies. */
struct of_pod {
	const char *namespace_, *app, *ready; /* NULL: the kubelet has said nothing yet */
	const char *deleted;                  /* NULL: it is not */
};

static const struct of_pod ready_pod = {"istio-system", "ztunnel", "True", NULL};

static struct object *pod_made(struct fixture *f, const struct of_pod *x, const char *node)
{
	json_t *conditions = x->ready
				     ? json_pack("[{s:s,s:s}]", "type", "Ready", "status", x->ready)
				     : json_array();

	char name[16];
	struct object *o;

	(void)snprintf(name, sizeof(name), "z-%s", node);
	o = made(json_pack("{s:s,s:{s:s,s:s,s:{s:s},s:s*},s:{s:s},s:{s:o}}", "kind", "Pod",
			   "metadata", "name", name, "namespace", x->namespace_, "labels", "app",
			   x->app, "deletionTimestamp", x->deleted, "spec", "nodeName", node,
			   "status", "conditions", conditions));
	assert_int_equal(object_reduce(o, f->pool), 0);
	return o;
}

static void pod_put(struct fixture *f, const struct of_pod *x, const char *node)
{
	struct object *o = pod_made(f, x, node);

	untaint_put(f->untaint, o);
	(void)object_unref(o);
}

static void run(struct fixture *f, int ms)
{
	for (int i = 0; i < ms / 10; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
}

static void wait_written(struct fixture *f, const char *nodes)
{
	UNTIL(&f->kube, strlen(f->written) >= strlen(nodes));
	run(f, 50);
	assert_string_equal(f->written, nodes);
	f->written[0] = '\0';
}

static void test_the_taint_goes_once_the_pod_is_ready(void **state)
{
	struct fixture *f = *state;
	const struct of_pod waiting[] = {
		{"istio-system", "ztunnel", NULL, NULL},
		{"istio-system", "ztunnel", "False", NULL},
		{"istio-system", "ztunnel", "True", "2026-01-01T00:00:00Z"},
		{"other", "ztunnel", "True", NULL},
		{"istio-system", "istiod", "True", NULL},
	};

	untaint_lead(f->untaint, true);
	node_put(f, "a", "[" OTHERS "," OURS "]");
	node_put(f, "b", "[" OURS "]");
	assert_int_equal(untaint_count(f->untaint), 2);
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++)
		pod_put(f, &waiting[i], "a");
	run(f, 50);
	assert_string_equal(f->written, "");
	pod_put(f, &ready_pod, "a");
	wait_written(f, "a ");
	assert_string_equal(
		f->body,
		"[{\"op\":\"test\",\"path\":\"/spec/taints\",\"value\":[" OTHERS "," OURS
		"]},{\"op\":\"replace\",\"path\":\"/spec/taints\",\"value\":[" OTHERS "]}]");
	assert_int_equal(untaint_count(f->untaint), 1);
}

static void test_a_node_without_the_taint_is_left_alone(void **state)
{
	struct fixture *f = *state;

	untaint_lead(f->untaint, true);
	pod_put(f, &ready_pod, "a");
	node_put(f, "a", "[" OTHERS "]");
	run(f, 50);
	assert_string_equal(f->written, "");
	/* the pod was first */
	node_put(f, "a", "[" OURS "]");
	wait_written(f, "a ");
	node_put(f, "a", "[]");
	run(f, 50);
	assert_string_equal(f->written, "");
}

static void test_a_pod_that_went_leaves_the_taint(void **state)
{
	struct fixture *f = *state;
	struct object *pod = pod_made(f, &ready_pod, "a");

	untaint_lead(f->untaint, true);
	untaint_put(f->untaint, pod);
	untaint_put(f->untaint, pod);
	untaint_delete(f->untaint, pod);
	(void)object_unref(pod);
	node_put(f, "a", "[" OURS "]");
	run(f, 50);
	assert_string_equal(f->written, "");
}

static void test_only_the_leader_writes(void **state)
{
	struct fixture *f = *state;

	node_put(f, "a", "[" OURS "]");
	pod_put(f, &ready_pod, "a");
	run(f, 50);
	assert_string_equal(f->written, "");
	untaint_lead(f->untaint, true);
	wait_written(f, "a ");
	untaint_lead(f->untaint, false);
	node_put(f, "a", "[" OURS "]");
	run(f, 50);
	assert_string_equal(f->written, "");
}

static void test_what_is_refused_is_tried_less_and_less(void **state)
{
	struct fixture *f = *state;

	f->status = 422; /* somebody else has changed the taints */
	untaint_lead(f->untaint, true);
	node_put(f, "a", "[" OURS "]");
	pod_put(f, &ready_pod, "a");
	wait_written(f, "a ");
	node_put(f, "a", "[" OURS "," OTHERS "]");
	run(f, 500);
	assert_string_equal(f->written, "");
	f->status = 200;
	wait_written(f, "a ");
	assert_non_null(strstr(f->body, "\"value\":[" OURS "," OTHERS "]}"));
	assert_int_equal(untaint_count(f->untaint), 0);
}

static void test_very_many_nodes_have_their_turn(void **state)
{
	struct fixture *f = *state;
	char name[8];

	untaint_lead(f->untaint, true);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		node_put(f, name, "[" OURS "]");
		pod_put(f, &ready_pod, name);
	}
	UNTIL(&f->kube, untaint_count(f->untaint) == 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_taint_goes_once_the_pod_is_ready),
		TEST(test_a_node_without_the_taint_is_left_alone),
		TEST(test_a_pod_that_went_leaves_the_taint),
		TEST(test_only_the_leader_writes),
		TEST(test_what_is_refused_is_tried_less_and_less),
		TEST(test_very_many_nodes_have_their_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* gateways - kinds of the Gateway API are found when they are installed, in the version that there
 * is; Istio's classes are made there; statuses are written upon what was looked at, once, and never
 * in a quarrel. */
#include "userspace/control/gateways.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/unit/source/fake-kube.h"

#define GROUP "/apis/gateway.networking.k8s.io/"

struct fixture {
	struct fake_kube kube;
	struct gateways *gateways;
	bool has_kinds;                             /* installed */
	const char *class, *gateways_list, *routes; /* items of lists */
	int watch_fd;                               /* of HTTPRoutes */
	int n_patches, n_absent, status;
	char path[256], body[4096], lists[1024]; /* of the last patch; all that was listed */
	int n_made, made_status;
	char made[8][512], made_path[256]; /* what was asked to be made, in turn; the last's path */
};

static void answer_versions(struct fixture *f, int fd, const char *path)
{
	f->n_absent += !f->has_kinds;
	if (!f->has_kinds)
		fake_answer(fd, 404, "{}");
	else if (streq(path, GROUP "v1"))
		fake_answer(fd, 200,
			    "{\"resources\":[{\"name\":\"gatewayclasses\"},{\"name\":\"gateways\"},"
			    "{\"name\":\"gateways/status\"}]}");
	else if (streq(path, GROUP "v1beta1"))
		fake_answer(fd, 200,
			    "{\"resources\":[{\"name\":\"gateways\"},{\"name\":\"httproutes\"}]}");
	else
		fake_answer(fd, 404, "{}");
}

static void answer_list(struct fixture *f, int fd, const char *path)
{
	const char *items = strstr(path, "/gatewayclasses?") ? f->class
			    : strstr(path, "/gateways?")     ? f->gateways_list
							     : f->routes;
	char list[4096];
	size_t n = strlen(f->lists);

	(void)snprintf(f->lists + n, sizeof(f->lists) - n, "%.*s ",
		       (int)strcspn(path + strlen(GROUP), "?"), path + strlen(GROUP));
	(void)snprintf(list, sizeof(list),
		       "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[%s]}",
		       items ? items : "");
	fake_answer(fd, 200, list);
}

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;

	if (streq(method, "POST")) {
		(void)str_copy(f->made[f->n_made++ % (int)ARRAY_SIZE(f->made)], sizeof(f->made[0]),
			       body);
		(void)str_copy(f->made_path, sizeof(f->made_path), path);
		fake_answer(fd, f->made_status, "{}");
		return true;
	}
	if (streq(method, "PATCH")) {
		f->n_patches++;
		(void)str_copy(f->path, sizeof(f->path), path);
		(void)str_copy(f->body, sizeof(f->body), body);
		fake_answer(fd, f->status, "{}");
		return true;
	}
	if (strstr(path, "watch=1")) {
		if (strstr(path, "httproutes"))
			f->watch_fd = fd;
		return false;
	}
	if (strchr(path, '?'))
		answer_list(f, fd, path);
	else
		answer_versions(f, fd, path);
	return true;
}

static bool is_selected(void *arg, const char *namespace_)
{
	return true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct gateways_config config = {.is_selected = is_selected, .pause_us = 100000, .arg = f};

	fake_kube_start(&f->kube, on_request, f);
	f->status = 200;
	f->made_status = 201;
	f->has_kinds = true;
	f->watch_fd = -EBADF;
	config.loop = f->kube.loop;
	config.kube = f->kube.client;
	assert_int_equal(gateways_new(&config, &f->gateways), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)gateways_free(f->gateways);
	fake_kube_stop(&f->kube);
	free(f);
	return 0;
}

static void lead(struct fixture *f)
{
	assert_int_equal(gateways_lead(f->gateways, true), 0);
}

static void run(struct fixture *f, int ms)
{
	for (int i = 0; i < ms / 10; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
}

#define WAYPOINT                                                                                   \
	"{\"metadata\":{\"name\":\"w\",\"namespace\":\"demo\",\"generation\":2,"                   \
	"\"resourceVersion\":\"7\"},\"spec\":{\"gatewayClassName\":\"istio-waypoint\"}}"
#define ROUTE(version)                                                                             \
	"{\"metadata\":{\"name\":\"r\",\"namespace\":\"demo\",\"generation\":1,"                   \
	"\"resourceVersion\":\"" version "\"},\"spec\":{\"parentRefs\":[{\"name\":\"w\"}]}}"

static void test_a_gateway_is_told_once_and_upon_what_was_seen(void **state)
{
	struct fixture *f = *state;

	f->gateways_list = WAYPOINT;
	run(f, 100);
	assert_int_equal(f->n_patches, 0); /* another leads */
	lead(f);
	UNTIL(&f->kube, f->n_patches > 0 && strstr(f->lists, "v1beta1/httproutes "));
	assert_string_equal(f->path, GROUP "v1/namespaces/demo/gateways/w/status"
					   "?fieldManager=culvert-control");
	assert_non_null(strstr(f->body, "\"resourceVersion\":\"7\""));
	assert_non_null(strstr(f->body, "\"Programmed\""));
	assert_non_null(strstr(f->body, "Gateway has no effect yet: waypoints are to come"));
	run(f, 500); /* several looks for kinds; the watch has not said what became of it */
	assert_int_equal(f->n_patches, 1);
	assert_int_equal(gateways_count(f->gateways), 1);
	/* each in the first version that it is served in */
	assert_non_null(strstr(f->lists, "v1/gateways "));
	assert_null(strstr(f->lists, "v1beta1/gateways "));
}

static void test_a_class_of_somebody_else_is_theirs(void **state)
{
	struct fixture *f = *state;

	f->class = "{\"metadata\":{\"name\":\"istio-waypoint\",\"resourceVersion\":\"3\"},"
		   "\"spec\":{\"controllerName\":\"example.com/theirs\"}}";
	f->gateways_list = WAYPOINT;
	f->routes = ROUTE("4");
	lead(f);
	run(f, 800);
	assert_int_equal(f->n_patches, 0);
}

static void test_kinds_may_come_and_go(void **state)
{
	struct fixture *f = *state;

	f->has_kinds = false;
	f->gateways_list = WAYPOINT;
	lead(f);
	run(f, 300);
	assert_string_equal(f->lists, "");
	f->has_kinds = true;
	UNTIL(&f->kube, f->n_patches == 1);
	f->has_kinds = false;
	f->n_absent = 0;
	UNTIL(&f->kube, f->n_absent >= 8); /* more than one look */
	f->n_patches = 0;
	f->has_kinds = true;
	UNTIL(&f->kube, f->n_patches == 1); /* a new one, for all that is known */
}

static void test_a_route_is_told_of_its_gateway(void **state)
{
	struct fixture *f = *state;

	f->gateways_list = WAYPOINT;
	f->routes = ROUTE("4");
	lead(f);
	UNTIL(&f->kube, f->n_patches == 2);
	assert_string_equal(f->path, GROUP "v1beta1/namespaces/demo/httproutes/r/status"
					   "?fieldManager=culvert-control");
	assert_non_null(strstr(f->body, "\"controllerName\":\"istio.io/gateway-controller\""));
}

static void test_a_refused_write_is_tried_again_with_the_next_look(void **state)
{
	struct fixture *f = *state;

	f->gateways_list = WAYPOINT;
	f->status = 500;
	lead(f);
	UNTIL(&f->kube, f->n_patches >= 2);
	assert_int_equal(gateways_count(f->gateways), 0);
	f->status = 200;
	UNTIL(&f->kube, gateways_count(f->gateways) == 1);
}

/* The route is as it was before, whatever was written. */
static void put_back(struct fixture *f, int version)
{
	char event[512];

	(void)snprintf(event, sizeof(event),
		       "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"r\","
		       "\"namespace\":\"demo\",\"resourceVersion\":\"%d\"},\"spec\":{"
		       "\"parentRefs\":[{\"name\":\"w\"}]}}}\n",
		       version);
	f->kube.api.watch_fd = f->watch_fd;
	fake_push(&f->kube.api, event);
	run(f, 100);
}

static void test_what_has_changed_meanwhile_is_waited_for(void **state)
{
	struct fixture *f = *state;

	f->gateways_list = WAYPOINT;
	f->routes = ROUTE("10");
	f->status = 409;
	lead(f);
	UNTIL(&f->kube, f->n_patches == 2 && f->watch_fd >= 0); /* the Gateway's, too */
	run(f, 300);
	assert_int_equal(f->n_patches, 2);
	f->status = 200;
	put_back(f, 11);
	UNTIL(&f->kube, gateways_count(f->gateways) == 1);
	assert_non_null(strstr(f->body, "\"resourceVersion\":\"11\""));
}

static void test_a_quarrel_is_given_up(void **state)
{
	struct fixture *f = *state;
	int version = 10;

	f->gateways_list = WAYPOINT;
	f->routes = ROUTE("10");
	lead(f);
	UNTIL(&f->kube, f->n_patches == 2 && f->watch_fd >= 0);
	while (f->n_patches < 1 + 5 && version < 1000)
		put_back(f, ++version);
	for (int i = 0; i < 5; i++)
		put_back(f, ++version);
	assert_int_equal(f->n_patches, 1 + 5); /* the Gateway's, and five of the route's */
}

#define CLASS(name)                                                                                \
	"{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"3\"},\"spec\":{"               \
	"\"controllerName\":\"example.com/theirs\"}}"

/* Was a class of that name, with that controller, asked for as number @i? */
static bool is_made(const struct fixture *f, int i, const char *name, const char *controller)
{
	json_t *o = json_loads(f->made[i], 0, NULL);
	const char *kind = "", *version = "", *has_name = "", *has = "";
	bool ret =
		json_unpack(o, "{s:s,s:s,s:{s:s},s:{s:s}}", "kind", &kind, "apiVersion", &version,
			    "metadata", "name", &has_name, "spec", "controllerName", &has) == 0 &&
		streq(kind, "GatewayClass") && streq(version, "gateway.networking.k8s.io/v1") &&
		streq(has_name, name) && streq(has, controller);

	json_decref(o);
	return ret;
}

static void test_the_classes_are_made_that_are_not_there(void **state)
{
	struct fixture *f = *state;

	f->class = CLASS("istio-remote");
	run(f, 100);
	assert_int_equal(f->n_made, 0); /* another leads */
	lead(f);
	UNTIL(&f->kube, f->n_made >= 4); /* what the watch does not show is tried again */
	assert_true(is_made(f, 0, "istio", "istio.io/gateway-controller"));
	assert_true(is_made(f, 1, "istio-waypoint", "istio.io/mesh-controller"));
	assert_true(is_made(f, 2, "istio", "istio.io/gateway-controller"));
	assert_string_equal(f->made_path, GROUP "v1/gatewayclasses?fieldManager=culvert-control");
}

static void test_no_class_is_made_where_all_are_or_the_kind_is_not(void **state)
{
	struct fixture *f = *state;

	f->has_kinds = false;
	lead(f);
	run(f, 300);
	assert_int_equal(f->n_made, 0);
	f->class = CLASS("istio") "," CLASS("istio-waypoint") "," CLASS("istio-remote");
	f->has_kinds = true;
	UNTIL(&f->kube, strstr(f->lists, "v1/gatewayclasses "));
	run(f, 300);
	assert_int_equal(f->n_made, 0);
}

static void test_a_class_that_somebody_else_has_made_first_holds_up_no_other(void **state)
{
	struct fixture *f = *state;

	f->made_status = 409;
	lead(f);
	UNTIL(&f->kube, f->n_made >= 3);
	assert_true(is_made(f, 1, "istio-waypoint", "istio.io/mesh-controller"));
	assert_true(is_made(f, 2, "istio-remote", "istio.io/unmanaged-gateway"));
}

static void test_a_class_that_may_not_be_made_is_tried_with_the_next_look(void **state)
{
	struct fixture *f = *state;

	f->made_status = 403;
	lead(f);
	UNTIL(&f->kube, f->n_made >= 2);
	assert_true(is_made(f, 0, "istio", "istio.io/gateway-controller"));
	assert_true(is_made(f, 1, "istio", "istio.io/gateway-controller"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_gateway_is_told_once_and_upon_what_was_seen),
		TEST(test_a_class_of_somebody_else_is_theirs),
		TEST(test_kinds_may_come_and_go),
		TEST(test_a_route_is_told_of_its_gateway),
		TEST(test_a_refused_write_is_tried_again_with_the_next_look),
		TEST(test_what_has_changed_meanwhile_is_waited_for),
		TEST(test_a_quarrel_is_given_up),
		TEST(test_the_classes_are_made_that_are_not_there),
		TEST(test_no_class_is_made_where_all_are_or_the_kind_is_not),
		TEST(test_a_class_that_somebody_else_has_made_first_holds_up_no_other),
		TEST(test_a_class_that_may_not_be_made_is_tried_with_the_next_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

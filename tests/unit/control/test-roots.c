/* SPDX-License-Identifier: Apache-2.0 */
/* roots - every namespace of the mesh gets the ConfigMap, again when somebody touched it; a
 * follower writes nothing. */
#include "userspace/control/roots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/source/fake-kube.h"

#define MAP(ns, text)                                                                              \
	"{\"metadata\":{\"name\":\"istio-ca-root-cert\",\"namespace\":\"" ns                       \
	"\"},\"data\":{\"root-cert.pem\":\"" text "\"}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define VERSIONED(ns, text)                                                                        \
	"{\"metadata\":{\"name\":\"istio-ca-root-cert\",\"resourceVersion\":\"9\",\"namespace\":"  \
	"\"" ns "\"},\"data\":{\"root-cert.pem\":\"" text "\"}}"

struct fixture {
	struct fake_kube kube;
	struct roots *roots;
	char written[512]; /* namespaces, in order */
	char text[64];     /* of the last */
	const char *unselected;
	int status;
};

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct fixture *f = a->arg;
	char name[64] = "";
	json_t *map;
	size_t n = strlen(f->written);

	if (!streq(method, "PATCH"))
		return false;
	assert_int_equal(sscanf(path, "/api/v1/namespaces/%63[^/]", name), 1);
	assert_non_null(
		strstr(path, "/configmaps/istio-ca-root-cert?fieldManager=culvert-control"));
	(void)snprintf(f->written + n, sizeof(f->written) - n, "%s ", name);
	map = json_loads(body, 0, NULL);
	(void)str_copy(
		f->text, sizeof(f->text),
		json_string_value(json_object_get(json_object_get(map, "data"), "root-cert.pem")));
	json_decref(map);
	fake_answer(fd, f->status, "{\"message\":\"quota\"}");
	return true;
}

static bool is_selected(void *arg, const char *namespace_)
{
	const struct fixture *f = arg;

	return !f->unselected || !streq(f->unselected, namespace_);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct roots_config config = {.is_selected = is_selected, .arg = f};

	fake_kube_start(&f->kube, on_request, f);
	f->kube.api.pages[0] = "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[" MAP(
		"right", "ROOT") "," MAP("stale", "OLD") "]}";
	f->kube.api.pages[1] = f->kube.api.pages[0];
	f->status = 200;
	config.loop = f->kube.loop;
	config.kube = f->kube.client;
	assert_int_equal(roots_new(&config, &f->roots), 0);
	assert_int_equal(roots_set_text(f->roots, "ROOT"), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)roots_free(f->roots);
	fake_kube_stop(&f->kube);
	free(f);
	return 0;
}

static void namespace_put(struct fixture *f, const char *name, bool is_going)
{
	json_t *body =
		json_pack("{s:s,s:{s:s,s:s*}}", "kind", "Namespace", "metadata", "name", name,
			  "deletionTimestamp", is_going ? "2026-01-01T00:00:00Z" : NULL);
	struct object *o;

	assert_int_equal(object_new_json(body, &o), 0);
	roots_put_namespace(f->roots, o);
	(void)object_unref(o);
}

static void run(struct fixture *f, int ms)
{
	for (int i = 0; i < ms / 10; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
}

static void wait_written(struct fixture *f, const char *names)
{
	for (int i = 0; i < 1500 && !streq(f->written, names); i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	assert_string_equal(f->written, names);
	f->written[0] = '\0';
}

static void lead(struct fixture *f)
{
	assert_int_equal(roots_lead(f->roots, true), 0);
	for (int i = 0; i < 1500 && f->kube.api.n_watches == 0; i++)
		assert_true(loop_run_once(f->kube.loop, 10) >= 0);
	run(f, 50);
}

static void test_what_is_missing_or_stale_is_written_and_no_more(void **state)
{
	struct fixture *f = *state;

	namespace_put(f, "right", false);
	namespace_put(f, "stale", false);
	namespace_put(f, "kube-system", false);
	namespace_put(f, "going", true);
	run(f, 50);
	assert_string_equal(f->written, ""); /* others lead */
	lead(f);
	wait_written(f, "stale ");
	run(f, 50);
	assert_int_equal(roots_count(f->roots), 2);
	assert_non_null(
		strstr(f->kube.api.last_watch, "fieldSelector=metadata.name%3Distio-ca-root-cert"));
}

static void test_a_new_namespace_gets_it_at_once(void **state)
{
	struct fixture *f = *state;

	lead(f);
	namespace_put(f, "new", false);
	wait_written(f, "new ");
	assert_string_equal(f->text, "ROOT");
	namespace_put(f, "new", false);
	run(f, 50);
	assert_string_equal(f->written, "");
}

static void test_an_edit_and_a_deletion_are_repaired(void **state)
{
	struct fixture *f = *state;

	namespace_put(f, "right", false);
	lead(f);
	fake_push(&f->kube.api, EVENT("MODIFIED", VERSIONED("right", "evil")));
	wait_written(f, "right ");
	/* somebody writes against us: not as fast as they can */
	fake_push(&f->kube.api, EVENT("DELETED", VERSIONED("right", "evil")));
	run(f, 200);
	assert_string_equal(f->written, "");
	wait_written(f, "right ");
	/* our own write, as it comes back */
	fake_push(&f->kube.api, EVENT("ADDED", VERSIONED("right", "ROOT")));
	run(f, 50);
	assert_string_equal(f->written, "");
}

static void test_other_roots_are_written_everywhere(void **state)
{
	struct fixture *f = *state;

	namespace_put(f, "right", false);
	lead(f);
	assert_int_equal(roots_set_text(f->roots, "ROOT2"), 0);
	wait_written(f, "right ");
	assert_string_equal(f->text, "ROOT2");
}

static void test_namespaces_outside_the_mesh_are_left_alone(void **state)
{
	struct fixture *f = *state;

	f->unselected = "other";
	lead(f);
	namespace_put(f, "other", false);
	run(f, 50);
	assert_string_equal(f->written, "");
	f->unselected = NULL;
	roots_check(f->roots);
	wait_written(f, "other ");
}

static void test_who_no_longer_leads_writes_no_more(void **state)
{
	struct fixture *f = *state;

	lead(f);
	assert_int_equal(roots_lead(f->roots, false), 0);
	namespace_put(f, "new", false);
	run(f, 50);
	assert_string_equal(f->written, "");
	lead(f);
	wait_written(f, "new ");
}

static void test_a_refused_write_is_tried_again(void **state)
{
	struct fixture *f = *state;

	lead(f);
	f->status = 500;
	namespace_put(f, "new", false);
	wait_written(f, "new ");
	f->status = 201;
	wait_written(f, "new ");
	run(f, 50);
	assert_int_equal(roots_count(f->roots), 1);
}

static void test_what_goes_on_being_refused_is_tried_less_and_less(void **state)
{
	struct fixture *f = *state;

	lead(f);
	f->status = 403;
	namespace_put(f, "full", false);
	run(f, 3500);
	assert_string_equal(f->written, "full full "); /* at once and after two seconds */
	f->written[0] = '\0';
	/* others are not kept waiting, nor is it for what is new */
	f->status = 201;
	namespace_put(f, "new", false);
	run(f, 50);
	assert_string_equal(f->written, "new ");
	f->written[0] = '\0';
	assert_int_equal(roots_set_text(f->roots, "ROOT2"), 0);
	run(f, 50);
	assert_non_null(strstr(f->written, "full "));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_missing_or_stale_is_written_and_no_more),
		TEST(test_a_new_namespace_gets_it_at_once),
		TEST(test_an_edit_and_a_deletion_are_repaired),
		TEST(test_other_roots_are_written_everywhere),
		TEST(test_namespaces_outside_the_mesh_are_left_alone),
		TEST(test_who_no_longer_leads_writes_no_more),
		TEST(test_a_refused_write_is_tried_again),
		TEST(test_what_goes_on_being_refused_is_tried_less_and_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

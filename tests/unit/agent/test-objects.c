/* SPDX-License-Identifier: Apache-2.0 */
/* objects - from a folder of manifests, or an API server, to the pods that this node enrols. */
#include "userspace/agent/objects.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/unit/agent/told.h"
#include "tests/unit/source/fake-api.h"

#define POD(name, node, more)                                                                      \
	"apiVersion: v1\nkind: Pod\nmetadata:\n  name: " name "\n  namespace: demo\n"              \
	"  annotations:\n    culvert.io/pid: \"1\"\n" more "spec:\n  nodeName: " node "\n"
#define NAMESPACE(label)                                                                           \
	"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: demo\n  labels:\n    "                \
	"istio-injection: " label "\n"

#define OTHERS 500

struct fixture {
	struct loop *loop;
	struct objects *objects;
	char dir[40];
	struct told told;
};

static void put(struct fixture *f, const char *name, const char *text)
{
	char path[100], tmp[100];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	(void)snprintf(tmp, sizeof(tmp), "%s/.%s", f->dir, name);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	assert_int_equal(rename(tmp, path), 0);
}

static void drop(struct fixture *f, const char *name)
{
	char path[100];

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	(void)unlink(path);
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		assert_true(loop_run_once(f->loop, 20) >= 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_set_level(LOG_ERROR);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-objects-XXXXXX");
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	*state = f;
	return 0;
}

static void start(struct fixture *f)
{
	struct objects_config config = told_config(f->loop, &f->told);

	config.config_dir = f->dir;
	assert_int_equal(objects_new(&config, &f->objects), 0);
	turn(f);
	assert_true(f->told.synced > 0);
}

static int teardown(void **state)
{
	static const char *const names[] = {"ns.yaml", "a.yaml", "b.yaml", "kubeconfig"};
	struct fixture *f = *state;

	objects_free(f->objects);
	loop_free(f->loop);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		drop(f, names[i]);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

/* The agent is about to end for good: nothing that it still hears brings a pod back. */
static void who_leaves_the_node_has_no_pod_in_the_mesh_whatever_is_said(void **state)
{
	struct fixture *f = *state;

	objects_release(NULL);
	put(f, "a.yaml", POD("a", "n1", ""));
	put(f, "ns.yaml", NAMESPACE("enabled"));
	start(f);
	objects_release(f->objects);
	assert_true(objects_is_released(f->objects));
	assert_string_equal(f->told.calls, "+demo/a -demo/a ");
	put(f, "b.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n");
	put(f, "a.yaml", POD("a", "n1", "    a: b\n"));
	turn(f);
	assert_true(objects_is_released(f->objects));
	assert_null(strchr(f->told.calls + 1, '+'));
}

static void an_annotation_that_cannot_be_understood_is_told_of_its_pod(void **state)
{
	struct fixture *f = *state;

	log_set_level(LOG_OFF);
	put(f, "a.yaml",
	    POD("a", "n1", "    traffic.sidecar.istio.io/excludeOutboundPorts: none\n"));
	put(f, "ns.yaml", NAMESPACE("enabled"));
	start(f);
	assert_string_equal(f->told.calls, "+demo/a ");
	assert_non_null(strstr(f->told.problem, "demo/a: metadata.annotations[traffic.sidecar."
						"istio.io/excludeOutboundPorts]: expected ports"));
	/* once, however often the pod is looked at */
	put(f, "ns.yaml", NAMESPACE("disabled"));
	turn(f);
	put(f, "ns.yaml", NAMESPACE("enabled"));
	turn(f);
	assert_int_equal(f->told.problems, 1);
}

static void count_cut(void *arg, const char *line, bool is_warning)
{
	assert_non_null(strstr(line, "ä?\"; it is not in force"));
	++*(int *)arg;
}

/* What a message quotes is cut, here inside a character, which no JSON takes. */
static void so_is_one_that_is_cut_inside_a_character(void **state)
{
	struct fixture *f = *state;
	int errors = 0;

	log_set_level(LOG_OFF);
	put(f, "a.yaml",
	    POD("a", "n1",
		"    traffic.sidecar.istio.io/excludeOutboundPorts: "
		"xääääääääääääääääääääääääääääää\n"));
	put(f, "ns.yaml", NAMESPACE("enabled"));
	start(f);
	assert_non_null(strstr(f->told.problem, "ä?\"; it is not in force"));
	objects_for_each_error(f->objects, count_cut, &errors);
	assert_int_equal(errors, 1);
	put(f, "ns.yaml", NAMESPACE("disabled"));
	turn(f);
	put(f, "ns.yaml", NAMESPACE("enabled"));
	turn(f);
	assert_int_equal(f->told.problems, 1);
}

static void a_labelled_namespace_enrols_its_pods_of_this_node(void **state)
{
	struct fixture *f = *state;

	put(f, "a.yaml", POD("a", "n1", ""));
	put(f, "b.yaml", POD("b", "n2", ""));
	put(f, "ns.yaml", NAMESPACE("disabled"));
	start(f);
	assert_null(strstr(f->told.calls, "+"));
	f->told.calls[0] = '\0';
	put(f, "ns.yaml", NAMESPACE("enabled"));
	turn(f);
	assert_string_equal(f->told.calls, "+demo/a ");
	f->told.calls[0] = '\0';
	put(f, "ns.yaml", NAMESPACE("disabled"));
	turn(f);
	assert_string_equal(f->told.calls, "-demo/a ");
	f->told.calls[0] = '\0';
	drop(f, "a.yaml");
	turn(f);
	assert_string_equal(f->told.calls, "-demo/a ");
}

static void count_line(void *arg, const char *line, bool is_warning)
{
	assert_non_null(strstr(line, "a.yaml:"));
	assert_non_null(strstr(line, "culvert.io/netns"));
	++*(int *)arg;
}

static void a_pod_that_turns_bad_stays_and_is_named(void **state)
{
	struct fixture *f = *state;
	int errors = 0;

	put(f, "ns.yaml", NAMESPACE("enabled"));
	put(f, "a.yaml", POD("a", "n1", ""));
	start(f);
	f->told.calls[0] = '\0';
	log_set_level(LOG_ERROR);
	put(f, "a.yaml", POD("a", "n1", "    culvert.io/netns: relative\n"));
	turn(f);
	assert_string_equal(f->told.calls, "");
	assert_non_null(strstr(f->told.problem, "culvert.io/netns"));
	objects_for_each_error(f->objects, count_line, &errors);
	assert_int_equal(errors, 1);
	put(f, "a.yaml", POD("a", "n1", ""));
	turn(f);
	assert_string_equal(f->told.calls, "+demo/a ");
	errors = 0;
	objects_for_each_error(f->objects, count_line, &errors);
	assert_int_equal(errors, 0);
}

static void a_finished_pod_or_one_that_moves_is_let_go(void **state)
{
	struct fixture *f = *state;

	put(f, "ns.yaml", NAMESPACE("enabled"));
	put(f, "a.yaml", POD("a", "n1", ""));
	put(f, "b.yaml", POD("b", "n1", ""));
	start(f);
	f->told.calls[0] = '\0';
	put(f, "a.yaml", POD("a", "n1", "") "status:\n  phase: Succeeded\n");
	turn(f);
	put(f, "b.yaml", POD("b", "n2", ""));
	turn(f);
	assert_string_equal(f->told.calls, "-demo/a -demo/b ");
	put(f, "b.yaml", POD("b", "n1", ""));
	turn(f);
	assert_string_equal(f->told.calls, "-demo/a -demo/b +demo/b ");
}

static void of_other_nodes_pods_next_to_nothing_is_kept(void **state)
{
	struct fixture *f = *state;
	size_t len = 0, size = OTHERS * 4096;
	char *text = malloc(size);
	size_t before;

	assert_non_null(text);
	for (int i = 0; i < OTHERS; i++) {
		len += (size_t)snprintf(text + len, size - len,
					"---\n" POD("p%d", "n2", "") "  containers:\n", i);
		for (int k = 0; k < 20; k++)
			len += (size_t)snprintf(text + len, size - len,
						"  - {name: c%d, image: i, env: [{name: A, "
						"value: b}]}\n",
						k);
	}
	put(f, "ns.yaml", NAMESPACE("enabled"));
	start(f);
	before = mallinfo2().uordblks;
	put(f, "a.yaml", text);
	free(text);
	turn(f);
	assert_in_range(mallinfo2().uordblks, 0, before + OTHERS * 2048);
	put(f, "b.yaml", POD("b", "n1", ""));
	turn(f);
	assert_string_equal(f->told.calls + strlen(f->told.calls) - strlen("+demo/b "), "+demo/b ");
}

static void a_missing_folder_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct objects_config config = {.loop = f->loop, .config_dir = "/none", .node = "n1"};

	assert_int_equal(objects_new(&config, &f->objects), -ENOENT);
	assert_null(f->objects);
}

static void what_may_not_be_watched_is_told(void **state)
{
	struct fixture *f = *state;
	struct fake_api *api = calloc(1, sizeof(*api));
	struct objects_config config = told_config(f->loop, &f->told);
	char path[100], text[512];

	log_set_level(LOG_OFF);
	assert_non_null(api);
	fake_start(api, f->loop);
	api->list_status = 403;
	(void)snprintf(text, sizeof(text), KUBECONFIG, api->url);
	put(f, "kubeconfig", text);
	(void)snprintf(path, sizeof(path), "%s/kubeconfig", f->dir);
	config.kubeconfig = path;
	assert_null(objects_trouble(NULL));
	assert_int_equal(objects_new(&config, &f->objects), 0);
	for (int i = 0; i < 3000 && !objects_trouble(f->objects); i++)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_non_null(strstr(objects_trouble(f->objects), "give our ServiceAccount that right"));
	assert_non_null(strstr(objects_trouble(f->objects), "because"));
	/* the right is given */
	api->list_status = 200;
	for (size_t i = 0; i < ARRAY_SIZE(api->pages); i++)
		api->pages[i] = "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}";
	api->n_lists = 0;
	for (int i = 0; i < 3000 && objects_trouble(f->objects); i++)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_null(objects_trouble(f->objects));
	f->objects = objects_free(f->objects);
	fake_stop(api);
	free(api);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			who_leaves_the_node_has_no_pod_in_the_mesh_whatever_is_said, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			an_annotation_that_cannot_be_understood_is_told_of_its_pod, setup,
			teardown),
		cmocka_unit_test_setup_teardown(so_is_one_that_is_cut_inside_a_character, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_labelled_namespace_enrols_its_pods_of_this_node,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_pod_that_turns_bad_stays_and_is_named, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_finished_pod_or_one_that_moves_is_let_go, setup,
						teardown),
		cmocka_unit_test_setup_teardown(of_other_nodes_pods_next_to_nothing_is_kept, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_missing_folder_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(what_may_not_be_watched_is_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

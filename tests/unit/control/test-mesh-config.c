/* SPDX-License-Identifier: Apache-2.0 */
/* control, mesh_doubts - a MeshConfig that changes while the control plane runs, and what is said
 * of it and of what it hides. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"
#include "tests/unit/control/ca-dir.h"
#include "tests/unit/turn.h"

#define MESH                                                                                       \
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"      \
	"data:\n  mesh: |\n    "
#define ENTRY                                                                                      \
	"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api, "           \
	"namespace: "                                                                              \
	"demo}\nspec: {hosts: [api.example.com], resolution: DNS, ports: [{number: 443, name: "    \
	"tls, protocol: TLS}]}\n"
#define HIDDEN  "seen by nobody: serviceEntryVisibility"
#define DYNAMIC "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}\n"

struct fixture {
	struct loop *loop;
	char dir[64], mesh[96], entry[96];
	struct ca *ca;
	struct control *control;
};

static void text_write(const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct control_config config = control_config_of_test();
	_cleanup_(freep) char *config_dir = NULL;

	assert_non_null(f);
	log_set_level(LOG_ERROR);
	f->ca = ca_dir_make(f->dir);
	config.node = "n1";
	config.config_dir = config_dir = str_format("%s/config", f->dir);
	(void)snprintf(f->mesh, sizeof(f->mesh), "%s/mesh.yaml", config_dir);
	(void)snprintf(f->entry, sizeof(f->entry), "%s/entry.yaml", config_dir);
	assert_int_equal(mkdir_p(config_dir, 0755), 0);
	assert_int_equal(loop_new(&f->loop), 0);
	config.loop = f->loop;
	config.ca = f->ca;
	text_write(f->entry, ENTRY);
	assert_int_equal(control_new(&config, &f->control), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)control_free(f->control);
	(void)ca_free(f->ca);
	(void)loop_free(f->loop);
	ca_dir_remove(f->dir);
	free(f);
	return 0;
}

/* Is it among the problems of the status? */
static bool is_said(const struct fixture *f, const char *text)
{
	_cleanup_(json_decrefp) json_t *status = control_status(f->control);
	_cleanup_(freep) char *said = json_dumps(json_object_get(status, "errors"), 0);

	return said && strstr(said, text);
}

static void wait_until(const struct fixture *f, const char *text, bool is_there)
{
	turn_until(f->loop, 10000, is_said(f, text) == is_there);
	assert_int_equal(is_said(f, text), is_there);
}

static void what_is_for_sidecars_keeps_nothing_else_out(void **state)
{
	struct fixture *f = *state;

	text_write(f->mesh, MESH "serviceEntryVisibility: {defaultVisibility: NONE}\n    " DYNAMIC);
	wait_until(f, "as ALLOW_ANY: ", true);
	wait_until(f, HIDDEN, true);
}

static void it_hides_entries_as_it_changes(void **state)
{
	struct fixture *f = *state;

	text_write(f->mesh, MESH "serviceEntryVisibility: {defaultVisibility: NONE}\n");
	wait_until(f, HIDDEN, true);
	text_write(f->mesh, MESH "serviceEntryVisibility: {defaultVisibility: NAMESPACE}\n");
	wait_until(f, HIDDEN, false);
	text_write(f->mesh, MESH "serviceEntryVisibility: {defaultVisibility: NONE}\n");
	wait_until(f, HIDDEN, true);
	/* a mistake leaves the lock where it was */
	text_write(f->mesh, MESH "serviceEntryVisibility: {defaultVisibility: ANY}\n");
	wait_until(f, "expected one of PUBLIC, NAMESPACE, NONE", true);
	assert_true(is_said(f, HIDDEN));
	assert_int_equal(unlink(f->mesh), 0);
	wait_until(f, HIDDEN, false);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_for_sidecars_keeps_nothing_else_out),
		TEST(it_hides_entries_as_it_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

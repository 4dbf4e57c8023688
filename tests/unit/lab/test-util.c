/* SPDX-License-Identifier: Apache-2.0 */
/* lab_util, lab_state - lookups by path, paths that do not fit, pods by any of their names. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "userspace/cli/lab.h"

static void reads_values_by_path(void **state)
{
	json_t *j = json_loads("{\"a\":{\"b\":\"c\",\"n\":7},\"l\":[1]}", 0, NULL);

	assert_string_equal(lab_str(j, "a.b", "none"), "c");
	assert_string_equal(lab_str(j, "a.x", "none"), "none");
	assert_string_equal(lab_str(j, "a.n", "none"), "none");
	assert_string_equal(lab_str(j, "l.a", "none"), "none");
	assert_string_equal(lab_str(NULL, "a.b", "none"), "none");
	assert_int_equal(lab_int(j, "a.n", 1), 7);
	assert_int_equal(lab_int(j, "a.b", 1), 1);
	json_decref(j);
}

static void a_path_that_does_not_fit_is_no_path(void **state)
{
	char buf[8];

	assert_string_equal(lab_path(buf, sizeof(buf), "%s", "1234567"), "1234567");
	assert_string_equal(lab_path(buf, sizeof(buf), "%s", "12345678"), "");
}

static void finds_pods_by_any_of_their_names(void **state)
{
	struct lab l = {.lock_fd = -EBADF};
	static const char *const good[] = {"demo/web-1", "web-1", "demo/web", "web"};
	static const char *const bad[] = {"",          "/",  "demo/",       "/web",
					  "other/web", "we", "demo/web-1/x"};

	l.pods = json_loads(
		"{\"demo/"
		"web-1\":{\"metadata\":{\"namespace\":\"demo\",\"name\":\"web-1\",\"annotations\":"
		"{\"lab.culvert.io/deployment\":\"web\"}}}}",
		0, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_non_null(lab_pod_find(&l, good[i], NULL));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_null(lab_pod_find(&l, bad[i], NULL));
	assert_null(lab_pod_find(&l, "web", "other"));
	lab_close(&l);
}

static void a_command_that_fails_is_an_error(void **state)
{
	const char *const no[] = {"false", NULL}, *const yes[] = {"true", NULL},
			  *const none[] = {"/nonexistent", NULL};

	assert_int_equal(lab_run(NULL, yes, NULL), 0);
	assert_int_equal(lab_run(NULL, no, NULL), -EIO);
	assert_int_equal(lab_run(NULL, none, NULL), -EIO);
}

static void writes_only_what_changed(void **state)
{
	char path[] = "/tmp/culvert-test-XXXXXX";

	assert_int_equal(close(mkstemp(path)), 0);
	assert_int_equal(lab_write_if_changed(path, "abc", 3), 1);
	assert_int_equal(lab_write_if_changed(path, "abc", 3), 0);
	assert_int_equal(lab_write_if_changed(path, "abd", 3), 1);
	assert_int_equal(unlink(path), 0);
	assert_true(lab_write_if_changed("/nonexistent/x", "abc", 3) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_values_by_path),
		cmocka_unit_test(a_path_that_does_not_fit_is_no_path),
		cmocka_unit_test(finds_pods_by_any_of_their_names),
		cmocka_unit_test(a_command_that_fails_is_an_error),
		cmocka_unit_test(writes_only_what_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

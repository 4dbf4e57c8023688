/* SPDX-License-Identifier: Apache-2.0 */
/* cacerts - a Secret that comes and goes as the kubelet does it, by a symlink that is replaced. */
#include "userspace/control/cacerts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"

struct fixture {
	struct loop *loop;
	struct cacerts *cacerts;
	char dir[64];
	int n_told;
	bool is_waiting;
};

static void on_change(void *arg, const struct source_error *err, bool is_waiting)
{
	struct fixture *f = arg;

	assert_string_equal(err->kind, "Secret");
	assert_string_equal(err->namespace_, "istio-system");
	assert_non_null(strstr(err->message, "rollout restart"));

	f->n_told++;
	f->is_waiting = is_waiting;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(loop_new(&f->loop), 0);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	*state = f;
	return 0;
}

static char *path_of(const struct fixture *f, const char *name)
{
	char *path = str_format("%s/%s", f->dir, name);

	assert_non_null(path);
	return path;
}

static void gone(const struct fixture *f, const char *name)
{
	_cleanup_(freep) char *path = path_of(f, name);

	(void)remove(path);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)cacerts_free(f->cacerts);
	gone(f, "ca-cert.pem");
	gone(f, "..data");
	gone(f, "..1/ca-cert.pem");
	gone(f, "..1");
	gone(f, "");
	(void)loop_free(f->loop);
	free(f);
	return 0;
}

static int start(struct fixture *f)
{
	const struct cacerts_config config = {.loop = f->loop,
					      .folder = f->dir,
					      .namespace_ = "istio-system",
					      .on_change = on_change,
					      .arg = f};

	return cacerts_new(&config, &f->cacerts);
}

static void wait_told(struct fixture *f, int n)
{
	for (int i = 0; i < 1000 && f->n_told < n; i++)
		assert_true(loop_run_once(f->loop, 10) >= 0);
	assert_int_equal(f->n_told, n);
}

/* ..1/ca-cert.pem, ..data -> ..1, ca-cert.pem -> ..data/ca-cert.pem */
static void secret_come(const struct fixture *f)
{
	_cleanup_(freep) char *folder = path_of(f, "..1");
	_cleanup_(freep) char *file = path_of(f, "..1/ca-cert.pem");
	_cleanup_(freep) char *data = path_of(f, "..data");
	_cleanup_(freep) char *link = path_of(f, "ca-cert.pem");

	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(file_write_atomic(file, "x", 1, 0600), 0);
	assert_int_equal(symlink("..1", data), 0);
	assert_int_equal(symlink("..data/ca-cert.pem", link), 0);
}

static void test_a_secret_that_comes_and_goes_is_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(start(f), 0);
	assert_int_equal(f->n_told, 0);
	secret_come(f);
	wait_told(f, 1);
	assert_true(f->is_waiting);
	gone(f, "ca-cert.pem");
	wait_told(f, 2);
	assert_false(f->is_waiting);
}

static void test_one_that_came_before_we_looked_is_told(void **state)
{
	struct fixture *f = *state;

	secret_come(f);
	assert_int_equal(start(f), 0);
	assert_int_equal(f->n_told, 1);
	assert_true(f->is_waiting);
}

static void test_without_a_folder_there_is_nothing_to_watch(void **state)
{
	struct fixture *f = *state;

	gone(f, "");
	assert_int_equal(start(f), -ENOENT);
	assert_null(f->cacerts);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_secret_that_comes_and_goes_is_told),
		TEST(test_one_that_came_before_we_looked_is_told),
		TEST(test_without_a_folder_there_is_nothing_to_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

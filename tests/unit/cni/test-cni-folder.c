/* SPDX-License-Identifier: Apache-2.0 */
/* cni_folder - the plugin taken out of a node's folders: all of it, or nothing that would hold up
 * pods. */
#include "cni/cni_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"

#define WITH     "{\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"b\"},{\"type\":\"culvert-cni\"}]}"
#define WITHOUT  "{\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"b\"}]}"
#define TEXT_MAX 4096
#define LONGEST  ((int)(NAME_MAX - strlen(".conflist")))

static char dir[64], bin[96], conf[96];
static const char *const files[] = {"conf/10-a.conflist", "conf/20-b.json", "conf/30-c.conf",
				    "conf/link.conflist", "bin/culvert-cni"};

static int folders_make(void **state)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/test-cni-folder-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(bin, sizeof(bin), "%s/bin", dir);
	(void)snprintf(conf, sizeof(conf), "%s/conf", dir);
	return mkdir(bin, 0755) < 0 || mkdir(conf, 0755) < 0;
}

static const char *path_of(const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int folders_remove(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		(void)rmdir(path_of(files[i]));
		(void)unlink(path_of(files[i]));
	}
	return rmdir(bin) < 0 || rmdir(conf) < 0 || rmdir(dir) < 0;
}

static void put(const char *name, const char *text)
{
	assert_int_equal(file_write_atomic(path_of(name), text, strlen(text), 0640), 0);
}

static void assert_is(const char *name, const char *want)
{
	_cleanup_(freep) char *text = NULL;
	_cleanup_(json_decrefp) json_t *is = NULL, *should = json_loads(want, 0, NULL);

	assert_int_equal(file_read(path_of(name), TEXT_MAX, &text, NULL), 0);
	is = json_loads(text, 0, NULL);
	assert_true(should ? json_equal(is, should) : streq(text, want));
}

/** struct told - what cni_folder_leave() said. */
struct told {
	int well, failed;
};

static void on_told(void *arg, const char *path, int error)
{
	struct told *t = arg;

	assert_true(str_has_prefix(path, dir));
	t->well += error == 0;
	t->failed += error < 0;
}

static void it_leaves_every_configuration_and_its_folder(void **state)
{
	const struct cni_dirs dirs = {.bin = bin, .conf = conf};
	struct told told = {0};
	struct stat st;

	put("conf/10-a.conflist", WITH);
	put("conf/20-b.json", WITHOUT);
	put("conf/30-c.conf", "no JSON");
	assert_int_equal(symlink("/nowhere", path_of("conf/link.conflist")), 0);
	put("bin/culvert-cni", "program");
	assert_int_equal(cni_folder_leave(&dirs, on_told, &told), 0);
	assert_is("conf/10-a.conflist", WITHOUT);
	assert_is("conf/20-b.json", WITHOUT);
	assert_is("conf/30-c.conf", "no JSON");
	assert_int_equal(stat(path_of("conf/10-a.conflist"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(access(path_of("bin/culvert-cni"), F_OK), -1);
	assert_int_equal(told.well, 2);
	assert_int_equal(told.failed, 0);
	assert_int_equal(cni_folder_leave(&dirs, on_told, &told), 0);
	assert_int_equal(told.well, 2);
}

/* A runtime that finds it in its configuration, but not in its folder, starts no pod. */
static void the_program_stays_while_a_configuration_has_it(void **state)
{
	const struct cni_dirs dirs = {.bin = bin, .conf = conf}, none = {.bin = bin, .conf = "/no"};
	_cleanup_(freep) char *name = str_format("%s/%0*d.conflist", conf, LONGEST, 0);
	_cleanup_(close_fdp) int fd = -EBADF;
	struct told told = {0};

	assert_non_null(name);
	fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	/* what would be written beside it first has too long a name */
	assert_int_equal(write(fd, WITH, strlen(WITH)), strlen(WITH));
	put("conf/10-a.conflist", WITH);
	put("bin/culvert-cni", "program");
	assert_int_equal(cni_folder_leave(&none, on_told, &told), -ENOENT);
	assert_int_equal(cni_folder_leave(&dirs, on_told, &told), -ENAMETOOLONG);
	assert_is("conf/10-a.conflist", WITHOUT);
	assert_int_equal(access(path_of("bin/culvert-cni"), F_OK), 0);
	assert_int_equal(told.well, 1);
	assert_int_equal(told.failed, 1);
	assert_int_equal(unlink(name), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_leaves_every_configuration_and_its_folder,
						folders_make, folders_remove),
		cmocka_unit_test_setup_teardown(the_program_stays_while_a_configuration_has_it,
						folders_make, folders_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

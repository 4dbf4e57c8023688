/* SPDX-License-Identifier: Apache-2.0 */
/* mounts - mount points are found by type, unescaped, and only when they show their root. */
#include "userspace/agent/mounts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char text[] =
	"24 30 0:22 / /proc rw,nosuid shared:5 - proc proc rw\n"
	"31 24 0:28 /kubepods /bind/of/a/part rw - cgroup2 cgroup2 rw\n"
	"32 24 0:28 / /sys/fs/cgroup\\040two rw,relatime shared:9 master:3 - cgroup2 none rw\n"
	"33 24 0:29 / /sys/fs/bpf rw - bpf bpf rw,mode=700\n"
	"garbage\n"
	"34 24 0:30 / /last rw - cgroup2 x rw\n";

static void finds_the_first_that_shows_its_root(void **state)
{
	char *path = NULL;

	assert_int_equal(mounts_find(text, "cgroup2", &path), 0);
	assert_string_equal(path, "/sys/fs/cgroup two");
	free(path);
	assert_int_equal(mounts_find(text, "bpf", &path), 0);
	assert_string_equal(path, "/sys/fs/bpf");
	free(path);
}

static void says_when_there_is_none(void **state)
{
	char *path = (char *)text;

	assert_int_equal(mounts_find(text, "cgroup", &path), -ENOENT);
	assert_int_equal(mounts_find("", "bpf", &path), -ENOENT);
	assert_int_equal(mounts_find(" - bpf\n\n - \n", "bpf", &path), -ENOENT);
	assert_ptr_equal(path, text);
}

static void refuses_a_folder_on_another_file_system(void **state)
{
	assert_int_equal(mounts_ensure_bpffs("/tmp/culvert-no-bpffs"), -EMEDIUMTYPE);
	assert_int_equal(mounts_ensure_bpffs("/tmp/culvert-none/deep"), -EMEDIUMTYPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_first_that_shows_its_root),
		cmocka_unit_test(says_when_there_is_none),
		cmocka_unit_test(refuses_a_folder_on_another_file_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* files_limit - the limit goes up as far as it may, and the kernel's table of descriptors is as
 * large as was asked for before any of them is in use. */
#include "base/files_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

/* What the kernel says of this process: FDSize, see proc_pid_status(5). */
static unsigned long table_size(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long size = 0;
	char line[256];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) && sscanf(line, "FDSize: %lu", &size) != 1)
		continue;
	(void)fclose(f);
	return size;
}

static unsigned int open_files(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += dup2(fd, fd) == fd;
	return n;
}

static void the_table_has_room_and_nothing_stays_open(void **state)
{
	unsigned int before = open_files();

	assert_true(files_limit_raise(4096) >= 1024);
	files_table_grow(1000);
	assert_true(table_size() >= 1000);
	assert_int_equal(open_files(), before);
}

static void no_more_than_the_limit_is_asked_for(void **state)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
	l.rlim_cur = 2048;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
	files_table_grow(UINT64_MAX);
	assert_in_range(table_size(), 2048, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_has_room_and_nothing_stays_open),
		cmocka_unit_test(no_more_than_the_limit_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* resolvconf - the search list, from a file that anybody may have written. */
#include "userspace/agent/resolvconf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

static char search[RESOLVCONF_SEARCH_LEN];

static void the_last_search_line_counts(void **state)
{
	static const char expected[] = "demo.svc.cluster.local\0svc.cluster.local\0cluster.local\0";

	resolvconf_search("# search x\nnameserver 1.2.3.4\nsearch old\n"
			  "search demo.svc.cluster.local\tsvc.cluster.local  cluster.local\r\n"
			  "options ndots:5\n",
			  search);
	assert_memory_equal(search, expected, sizeof(expected));
}

static void a_domain_line_is_a_search_list_of_one(void **state)
{
	resolvconf_search("search a b\ndomain only\n", search);
	assert_memory_equal(search, "only\0\0", 6);
}

static void odd_files_give_no_names(void **state)
{
	static const char *const texts[] = {
		"", "search", "search\n", "searching x\n", " search x\n", "nameserver search\n"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		resolvconf_search(texts[i], search);
		assert_int_equal(search[0], 0);
	}
}

static void names_that_do_not_fit_are_left_out(void **state)
{
	struct buf text = {0};
	int r = buf_printf(&text, "search %0300d", 1);

	for (int i = 0; i < 100; i++)
		r |= buf_printf(&text, " ten.chars");
	assert_int_equal(r | buf_append(&text, "", 1), 0);
	resolvconf_search((const char *)buf_head(&text), search);
	assert_string_equal(search, "ten.chars");
	assert_int_equal(search[RESOLVCONF_SEARCH_LEN - 1], 0);
	assert_int_equal(search[RESOLVCONF_SEARCH_LEN - 2], 0);
	buf_reset(&text);
}

static void only_plain_files_are_read(void **state)
{
	char dir[] = "/tmp/culvert-resolv-XXXXXX", path[64];

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(resolvconf_read(path, search), -EINVAL);
	(void)unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(resolvconf_read(path, search), -EINVAL);
	(void)unlink(path);
	assert_int_equal(resolvconf_read(path, search), -ENOENT);
	assert_int_equal(resolvconf_read("/dev/zero", search), -EINVAL);
	(void)rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_search_line_counts),
		cmocka_unit_test(a_domain_line_is_a_search_list_of_one),
		cmocka_unit_test(odd_files_give_no_names),
		cmocka_unit_test(names_that_do_not_fit_are_left_out),
		cmocka_unit_test(only_plain_files_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

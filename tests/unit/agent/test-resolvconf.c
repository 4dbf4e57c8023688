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
#include "net/addr.h"

static struct resolvconf c;

static void the_last_search_line_counts(void **state)
{
	static const char expected[] = "demo.svc.cluster.local\0svc.cluster.local\0cluster.local\0";

	resolvconf_parse("# search x\nnameserver 1.2.3.4\nsearch old\n"
			 "search demo.svc.cluster.local\tsvc.cluster.local  cluster.local\r\n"
			 "options ndots:5\n",
			 &c);
	assert_memory_equal(c.search, expected, sizeof(expected));
}

static void a_domain_line_is_a_search_list_of_one(void **state)
{
	resolvconf_parse("search a b\ndomain only\n", &c);
	assert_memory_equal(c.search, "only\0\0", 6);
}

static void final_dots_are_not_part_of_a_name(void **state)
{
	resolvconf_parse("search demo.svc.cluster.local. .\n", &c);
	assert_memory_equal(c.search, "demo.svc.cluster.local\0\0", 24);
}

static void the_first_nameservers_count(void **state)
{
	char text[CV_ADDR_STRLEN];

	resolvconf_parse("nameserver 10.96.0.10\nnameserver fe80::1%eth0\nnameserver name\n"
			 "nameserver\tfd00::a # of the cluster\n#nameserver 9.9.9.9\n"
			 "nameserver 192.0.2.1\nnameserver 192.0.2.2\n",
			 &c);
	assert_int_equal(c.nameserver_count, 3);
	assert_string_equal(cv_addr_format(&c.nameservers[0], text), "10.96.0.10");
	assert_string_equal(cv_addr_format(&c.nameservers[1], text), "fd00::a");
	assert_string_equal(cv_addr_format(&c.nameservers[2], text), "192.0.2.1");
	resolvconf_parse("", &c);
	assert_int_equal(c.nameserver_count, 0);
}

static void odd_files_give_no_names(void **state)
{
	static const char *const texts[] = {
		"", "search", "search\n", "searching x\n", " search x\n", "nameserver search\n"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		resolvconf_parse(texts[i], &c);
		assert_int_equal(c.search[0], 0);
	}
}

static void names_that_do_not_fit_are_left_out(void **state)
{
	struct buf text = {0};
	int r = buf_printf(&text, "search %0300d", 1);

	for (int i = 0; i < 100; i++)
		r |= buf_printf(&text, " ten.chars");
	assert_int_equal(r | buf_append(&text, "", 1), 0);
	resolvconf_parse((const char *)buf_head(&text), &c);
	assert_string_equal(c.search, "ten.chars");
	assert_int_equal(c.search[RESOLVCONF_SEARCH_LEN - 1], 0);
	assert_int_equal(c.search[RESOLVCONF_SEARCH_LEN - 2], 0);
	buf_reset(&text);
}

static void only_plain_files_are_read(void **state)
{
	char dir[] = "/tmp/culvert-resolv-XXXXXX", path[64];

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(resolvconf_read(path, &c), -EINVAL);
	(void)unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(resolvconf_read(path, &c), -EINVAL);
	(void)unlink(path);
	assert_int_equal(resolvconf_read(path, &c), -ENOENT);
	assert_int_equal(resolvconf_read("/dev/zero", &c), -EINVAL);
	(void)rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_search_line_counts),
		cmocka_unit_test(a_domain_line_is_a_search_list_of_one),
		cmocka_unit_test(final_dots_are_not_part_of_a_name),
		cmocka_unit_test(the_first_nameservers_count),
		cmocka_unit_test(odd_files_give_no_names),
		cmocka_unit_test(names_that_do_not_fit_are_left_out),
		cmocka_unit_test(only_plain_files_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

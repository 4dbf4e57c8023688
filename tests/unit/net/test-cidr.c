/* SPDX-License-Identifier: Apache-2.0 */
/* cidr - every prefix length at its edges; the families do not mix. */
#include "net/cidr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool contains(const char *prefix, const char *address)
{
	struct cv_addr a;
	struct cidr c;

	assert_int_equal(cidr_parse(prefix, &c), 0);
	assert_int_equal(cv_addr_parse(address, &a), 0);
	return cidr_contains(&c, &a);
}

static void edges_of_prefixes(void **state)
{
	assert_true(contains("10.0.0.0/8", "10.255.255.255"));
	assert_false(contains("10.0.0.0/8", "11.0.0.0"));
	assert_true(contains("10.1.2.3/8", "10.9.9.9"));
	assert_true(contains("10.1.2.3", "10.1.2.3"));
	assert_false(contains("10.1.2.3", "10.1.2.2"));
	assert_true(contains("10.1.2.128/25", "10.1.2.129"));
	assert_false(contains("10.1.2.128/25", "10.1.2.127"));
	assert_true(contains("0.0.0.0/0", "255.1.2.3"));
	assert_true(contains("fd00::/8", "fdff::1"));
	assert_false(contains("fd00::/8", "fe00::1"));
	assert_true(contains("fd00::/33", "fd00:0:7fff::"));
	assert_false(contains("fd00::/33", "fd00:0:8000::"));
	assert_true(contains("::/0", "fd00::1"));
	assert_true(contains("fd00::1/128", "fd00::1"));
}

static void families_do_not_mix(void **state)
{
	assert_false(contains("::/0", "10.0.0.1"));
	assert_false(contains("0.0.0.0/0", "fd00::1"));
	assert_false(contains("0.0.0.0/0", "::1"));
	assert_true(contains("::ffff:0:0/96", "10.0.0.1"));
}

static void masking_gives_one_form(void **state)
{
	char text[CIDR_STRLEN];
	struct cidr c;

	assert_int_equal(cidr_parse("10.1.255.3/23", &c), 0);
	c = cidr_mask(&c);
	assert_string_equal(cidr_format(&c, text), "10.1.254.0/23");
	assert_int_equal(cidr_parse("10.1.2.3/0", &c), 0);
	c = cidr_mask(&c);
	assert_string_equal(cidr_format(&c, text), "0.0.0.0/0");
	assert_int_equal(cidr_parse("fd00:1:2:3::4/33", &c), 0);
	c = cidr_mask(&c);
	assert_string_equal(cidr_format(&c, text), "fd00:1::/33");
	assert_int_equal(cidr_parse("fd00::1", &c), 0);
	c = cidr_mask(&c);
	assert_string_equal(cidr_format(&c, text), "fd00::1/128");
}

static void what_is_no_prefix_is_refused(void **state)
{
	static const char *const bad[] = {
		"",           "/8",       "10.0.0.0/",    "10.0.0.0/33", "10.0.0.0/-1",
		"fd00::/129", "10.0.0/8", "10.0.0.0/8/8", "10.0.0.0/8 ", "a/8"};
	struct cidr c = {.len = 7};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(cidr_parse(bad[i], &c), -EINVAL);
	assert_int_equal(c.len, 7);
}

static void prefixes_come_back(void **state)
{
	static const char *const table[] = {"10.0.0.0/8", "0.0.0.0/0", "1.2.3.4/32", "fd00::/8",
					    "::/0"};
	char buf[CIDR_STRLEN];
	struct cidr c;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(cidr_parse(table[i], &c), 0);
		assert_string_equal(cidr_format(&c, buf), table[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges_of_prefixes),
		cmocka_unit_test(families_do_not_mix),
		cmocka_unit_test(masking_gives_one_form),
		cmocka_unit_test(what_is_no_prefix_is_refused),
		cmocka_unit_test(prefixes_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

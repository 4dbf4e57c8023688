/* SPDX-License-Identifier: Apache-2.0 */
/* addr - text, native addresses and back; what is no address is refused. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void addresses_come_back(void **state)
{
	static const char *const table[][2] = {
		{"10.1.2.3", "10.1.2.3"}, {"::ffff:10.1.2.3", "10.1.2.3"},
		{"fd00::1", "fd00::1"},   {"::", "::"},
		{"0.0.0.0", "0.0.0.0"},   {"FD00:0::0001", "fd00::1"},
	};
	char buf[CV_ADDR_STRLEN];
	struct cv_addr a;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(cv_addr_parse(table[i][0], &a), 0);
		assert_string_equal(cv_addr_format(&a, buf), table[i][1]);
	}
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const bad[] = {
		"",          "10.1.2",    "10.1.2.256", "10.1.2.3 ", "010.1.2.3.4",
		"[fd00::1]", "fd00::1%1", "localhost",  "::g",       "10.1.2.3/8"};
	struct cv_addr a = {.w = {1, 2, 3, 4}};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(cv_addr_parse(bad[i], &a), -EINVAL);
	assert_int_equal(cv_addr_from_bytes("12345", 5, &a), -EINVAL);
	assert_int_equal(a.w[3], 4);
}

static void kinds_are_told_apart(void **state)
{
	static const struct {
		const char *text;
		bool is_v4, is_loopback, is_any, is_link_local;
	} table[] = {
		{"127.0.0.1", true, true, false, false},
		{"127.64.9.9", true, true, false, false},
		{"::1", false, true, false, false},
		{"0.0.0.0", true, false, true, false},
		{"::", false, false, true, false},
		{"128.0.0.1", true, false, false, false},
		{"::ffff:127.0.0.1", true, true, false, false},
		{"::2", false, false, false, false},
		{"169.254.1.1", true, false, false, true},
		{"169.253.255.255", true, false, false, false},
		{"fe80::1", false, false, false, true},
		{"febf::1", false, false, false, true},
		{"fec0::1", false, false, false, false},
	};
	struct cv_addr a;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(cv_addr_parse(table[i].text, &a), 0);
		assert_int_equal(cv_addr_is_v4(&a), table[i].is_v4);
		assert_int_equal(cv_addr_is_loopback(&a), table[i].is_loopback);
		assert_int_equal(cv_addr_is_any(&a), table[i].is_any);
		assert_int_equal(cv_addr_is_link_local(&a), table[i].is_link_local);
	}
}

static void bytes_are_as_short_as_they_get(void **state)
{
	uint8_t out[16];
	struct cv_addr a, b;

	assert_int_equal(cv_addr_from_bytes("\x0a\x01\x02\x03", 4, &a), 0);
	assert_int_equal(cv_addr_bytes(&a, out), 4);
	assert_memory_equal(out, "\x0a\x01\x02\x03", 4);
	assert_int_equal(cv_addr_from_bytes(a.w, 16, &b), 0);
	assert_true(cv_addr_equal(&a, &b));
	assert_int_equal(cv_addr_parse("fd00::1", &a), 0);
	assert_int_equal(cv_addr_bytes(&a, out), 16);
	assert_false(cv_addr_equal(&a, &b));
}

static void sockaddrs_come_back(void **state)
{
	static const char *const table[] = {"1.2.3.4:80", "[::1]:80", "[fd00::1]:65535",
					    "0.0.0.0:0"};
	char buf[CV_SOCKADDR_STRLEN];
	struct cv_sockaddr sa, again;
	struct sockaddr_storage ss;
	socklen_t len;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(cv_sockaddr_parse(table[i], &sa), 0);
		assert_string_equal(cv_sockaddr_format(&sa, buf), table[i]);
		assert_int_equal(cv_sockaddr_to_native(&sa, AF_UNSPEC, &ss, &len), 0);
		assert_int_equal(cv_sockaddr_from_native((struct sockaddr *)&ss, len, &again), 0);
		assert_true(cv_sockaddr_equal(&sa, &again));
		assert_int_equal(cv_sockaddr_to_native(&sa, AF_INET6, &ss, &len), 0);
		assert_int_equal(len, sizeof(struct sockaddr_in6));
		assert_int_equal(cv_sockaddr_from_native((struct sockaddr *)&ss, len, &again), 0);
		assert_true(cv_sockaddr_equal(&sa, &again));
	}
}

static void what_is_no_sockaddr_is_refused(void **state)
{
	static const char *const bad[] = {"",
					  "1.2.3.4",
					  "1.2.3.4:",
					  "1.2.3.4:65536",
					  ":80",
					  "::1:80",
					  "[::1]",
					  "[::1:80",
					  "::1]:80",
					  "[]:80",
					  "[1.2.3.4]:80",
					  "1.2.3.4:-1",
					  "1.2.3.4: 80",
					  "[:80",
					  "host:80",
					  "[fd00::1]:80:90",
					  "fd00::1.2.3.4:1"};
	struct cv_sockaddr sa = {.port = 7};
	char long_text[200];

	memset(long_text, '1', sizeof(long_text));
	memcpy(long_text + sizeof(long_text) - 4, ":80", 4);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(cv_sockaddr_parse(bad[i], &sa), -EINVAL);
	assert_int_equal(cv_sockaddr_parse(long_text, &sa), -EINVAL);
	assert_int_equal(sa.port, 7);
}

static void odd_native_addresses_are_refused(void **state)
{
	struct sockaddr_storage ss = {.ss_family = AF_UNIX};
	struct cv_sockaddr sa;
	socklen_t len;

	assert_int_equal(cv_sockaddr_from_native((struct sockaddr *)&ss, sizeof(ss), &sa),
			 -EAFNOSUPPORT);
	ss.ss_family = AF_INET6;
	assert_int_equal(
		cv_sockaddr_from_native((struct sockaddr *)&ss, sizeof(struct sockaddr_in), &sa),
		-EINVAL);
	ss.ss_family = AF_INET;
	assert_int_equal(cv_sockaddr_from_native((struct sockaddr *)&ss, 4, &sa), -EINVAL);
	assert_int_equal(cv_sockaddr_from_native((struct sockaddr *)&ss, 0, &sa), -EINVAL);
	assert_int_equal(cv_sockaddr_parse("[fd00::1]:1", &sa), 0);
	assert_int_equal(cv_sockaddr_to_native(&sa, AF_INET, &ss, &len), -EAFNOSUPPORT);
	assert_int_equal(cv_sockaddr_to_native(&sa, AF_UNIX, &ss, &len), -EAFNOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_come_back),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(kinds_are_told_apart),
		cmocka_unit_test(bytes_are_as_short_as_they_get),
		cmocka_unit_test(sockaddrs_come_back),
		cmocka_unit_test(what_is_no_sockaddr_is_refused),
		cmocka_unit_test(odd_native_addresses_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

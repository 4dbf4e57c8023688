/* SPDX-License-Identifier: Apache-2.0 */
/* dns-wire - what is not a plain query is left to the nameserver; answers never grow past what
 * fits. */
#include "ztunnel/dns_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/ztunnel/mesh.h"

#define HEAD "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#define NAME                                                                                       \
	"\x01"                                                                                     \
	"A"                                                                                        \
	"\x04"                                                                                     \
	"Demo"                                                                                     \
	"\x00"
#define EDNS "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"

static const char plain[] = HEAD NAME "\x00\x01\x00\x01";

struct bad {
	const char *bytes;
	size_t len;
	int result;
};
#define BAD(s, r)                                                                                  \
	{                                                                                          \
		s, sizeof(s) - 1, r                                                                \
	}

TEST(reads_a_plain_query)
{
	struct dns_query q;

	assert_int_equal(dns_query_parse((const uint8_t *)plain, sizeof(plain) - 1, &q), 0);
	assert_string_equal(q.name, "a.demo");
	assert_int_equal(q.type, DNS_TYPE_A);
	assert_int_equal(q.udp_size, 512);
	assert_false(q.has_edns);
}

TEST(reads_the_size_that_edns_offers_and_bounds_it)
{
	static const char with[] =
		"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01" NAME "\x00\x1c\x00\x01" EDNS;
	struct dns_query q;

	assert_int_equal(dns_query_parse((const uint8_t *)with, sizeof(with) - 1, &q), 0);
	assert_true(q.has_edns);
	assert_int_equal(q.udp_size, 1232);
	assert_int_equal(q.type, DNS_TYPE_AAAA);
}

TEST(sees_whether_a_nameserver_has_found_a_name)
{
	static const struct {
		const char *header;
		bool has;
	} cases[] = {
		{"\0\0\x81\x80\0\1\0\1\0\0\0\0", true},
		{"\0\0\x81\x80\0\1\1\0\0\0\0\0", true},
		{"\0\0\x81\x80\0\1\0\0\0\1\0\1", false}, /* no record of that type */
		{"\0\0\x81\x83\0\1\0\1\0\0\0\0", false}, /* an alias of nothing */
		{"\0\0\x81\x82\0\1\0\0\0\0\0\0", false},
		{"\0\0\x01\x00\0\1\0\1\0\0\0\0", false}, /* a query */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(dns_has_answer((const uint8_t *)cases[i].header), cases[i].has);
}

TEST(tells_the_answer_to_a_query_from_others)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool is_reply;
	} cases[] = {
		{"\x12\x34\x81\x80\0\1\0\1\0\0\0\0" NAME "\0\1\0\1whatever", 32, true},
		{"\x12\x34\x81\x80\0\1\0\0\0\0\0\0\1a\4dEMO\0\0\1\0\1", 24, true},
		/* FORMERR, as some write it */
		{"\x12\x34\x81\x81\0\0\0\0\0\0\0\0", 12, true},
		{"\x12\x35\x81\x80\0\1\0\0\0\0\0\0" NAME "\0\1\0\1", 24, false},
		{"\x12\x34\x01\x80\0\1\0\0\0\0\0\0" NAME "\0\1\0\1", 24, false},
		{"\x12\x34\x81\x80\0\2\0\0\0\0\0\0" NAME "\0\1\0\1", 24, false},
		{"\x12\x34\x81\x80\0\1\0\0\0\0\0\0" NAME "\0\1\0\1", 23, false},
		{"\x12\x34\x81\x80\0\1\0\0\0\0\0\0" NAME "\0\x1c\0\1", 24, false},
		{"\x12\x34\x81\x80\0\1\0\0\0\0\0\0\1b\4demo\0\0\1\0\1", 24, false},
		{"\x12\x34\x81\x80\0\1\0\0\0\0\0", 11, false},
	};
	static const char unreadable[] = HEAD "\xc0\x0c\0\1\0\1";

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (dns_is_reply((const uint8_t *)plain, sizeof(plain) - 1,
				 (const uint8_t *)cases[i].bytes,
				 cases[i].len) != cases[i].is_reply)
			fail_msg("case %zu", i);
	assert_true(dns_is_reply((const uint8_t *)unreadable, sizeof(unreadable) - 1,
				 (const uint8_t *)cases[0].bytes, cases[0].len));
	assert_false(dns_is_reply((const uint8_t *)plain, 11, (const uint8_t *)cases[2].bytes, 12));
}

TEST(knows_who_asks_for_a_zone)
{
	static const char axfr[] = HEAD NAME "\x00\xfc\x00\x01";
	static const char ixfr[] = HEAD NAME "\x00\xfb\x00\x01" EDNS;

	assert_true(dns_is_transfer((const uint8_t *)axfr, sizeof(axfr) - 1));
	assert_true(dns_is_transfer((const uint8_t *)ixfr, sizeof(ixfr) - 1));
	assert_false(dns_is_transfer((const uint8_t *)plain, sizeof(plain) - 1));
	for (size_t len = 0; len < sizeof(axfr) - 1; len++)
		assert_false(dns_is_transfer((const uint8_t *)axfr, len));
}

TEST(leaves_odd_messages_alone)
{
	static const struct bad cases[] = {
		BAD("", -EBADMSG),
		BAD("\x12\x34\x01", -EBADMSG),
		BAD("\x12\x34\x81\x00\x00\x01\x00\x00\x00\x00\x00\x00" NAME "\x00\x01\x00\x01",
		    -EBADMSG),
		BAD("\x12\x34\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00" NAME "\x00\x06\x00\x01",
		    -ENOTSUP),
		BAD("\x12\x34\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00" NAME "\x00\x01\x00\x01",
		    -ENOTSUP),
		BAD(HEAD, -ENOTSUP),
		BAD(HEAD "\x01", -ENOTSUP),
		BAD(HEAD "\x3f"
			 "abc",
		    -ENOTSUP),
		BAD(HEAD "\xc0\x0c\x00\x01\x00\x01", -ENOTSUP),
		BAD(HEAD "\x03"
			 "a.b"
			 "\x00\x00\x01\x00\x01",
		    -ENOTSUP),
		BAD(HEAD "\x03"
			 "a\0b"
			 "\x00\x00\x01\x00\x01",
		    -ENOTSUP),
		BAD(HEAD NAME "\x00\x01\x00\x03", -ENOTSUP),
		BAD(HEAD NAME "\x00\x01", -ENOTSUP),
	};
	struct dns_query q = {.type = 7};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = dns_query_parse((const uint8_t *)cases[i].bytes, cases[i].len, &q);

		if (r != cases[i].result)
			fail_msg("case %zu: %d", i, r);
	}
	assert_int_equal(q.type, 7);
}

TEST(any_bytes_are_survived)
{
	uint8_t bytes[64];
	struct dns_query q;

	srand(5);
	for (int i = 0; i < 200000; i++) {
		size_t len = (size_t)rand() % sizeof(bytes);

		for (size_t k = 0; k < len; k++)
			bytes[k] = rand() % 4 ? (uint8_t)(rand() % 8) : (uint8_t)rand();
		if (dns_query_parse(bytes, len, &q) == 0)
			assert_true(DNS_HEADER_LEN + q.question_len <= len);
	}
}

TEST(writes_addresses_and_keeps_the_question)
{
	static const char expect[] =
		"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00" NAME "\x00\x01\x00\x01"
		"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x60\x00\x01";
	struct cv_addr addr = mesh_addr("10.96.0.1");
	struct dns_answer a = {
		.is_authoritative = true, .addrs = &addr, .addrs_count = 1, .ttl_s = 30};
	struct dns_query q;
	uint8_t out[512];

	assert_int_equal(dns_query_parse((const uint8_t *)plain, sizeof(plain) - 1, &q), 0);
	assert_int_equal(dns_answer_write((const uint8_t *)plain, &q, &a, out, sizeof(out)),
			 sizeof(expect) - 1);
	assert_memory_equal(out, expect, sizeof(expect) - 1);
}

TEST(puts_the_cname_before_its_addresses)
{
	struct cv_addr addr = mesh_addr("fd00::1");
	struct dns_answer a = {.cname = "b.demo", .addrs = &addr, .addrs_count = 1, .ttl_s = 30};
	struct dns_query q;
	uint8_t out[512];
	size_t at = DNS_HEADER_LEN + sizeof(NAME) - 1 + 4;

	assert_int_equal(dns_query_parse((const uint8_t *)plain, sizeof(plain) - 1, &q), 0);
	assert_int_equal(dns_answer_write((const uint8_t *)plain, &q, &a, out, sizeof(out)),
			 at + 20 + 28);
	assert_int_equal(out[7], 2);
	assert_int_equal(out[at + 3], DNS_TYPE_CNAME);
	assert_memory_equal(out + at + 12, "\1b\4demo", 8);
	assert_int_equal(out[at + 20], 0xc0);
	assert_int_equal(out[at + 21], at + 12);
}

TEST(cuts_what_does_not_fit_and_says_so)
{
	struct cv_addr addrs[64];
	struct dns_answer a = {.addrs = addrs, .addrs_count = 64};
	struct dns_query q;
	uint8_t out[512];
	size_t len;

	for (size_t i = 0; i < 64; i++)
		addrs[i] = mesh_addr("10.96.0.1");
	assert_int_equal(dns_query_parse((const uint8_t *)plain, sizeof(plain) - 1, &q), 0);
	for (size_t max = 0; max <= sizeof(out); max++) {
		memset(out, 0xaa, sizeof(out));
		len = dns_answer_write((const uint8_t *)plain, &q, &a, out, max);
		assert_true(len <= max);
		assert_true(max == sizeof(out) || out[max] == 0xaa);
		if (len)
			assert_true(out[2] & 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_plain_query),
		cmocka_unit_test(reads_the_size_that_edns_offers_and_bounds_it),
		cmocka_unit_test(sees_whether_a_nameserver_has_found_a_name),
		cmocka_unit_test(tells_the_answer_to_a_query_from_others),
		cmocka_unit_test(knows_who_asks_for_a_zone),
		cmocka_unit_test(leaves_odd_messages_alone),
		cmocka_unit_test(any_bytes_are_survived),
		cmocka_unit_test(writes_addresses_and_keeps_the_question),
		cmocka_unit_test(puts_the_cname_before_its_addresses),
		cmocka_unit_test(cuts_what_does_not_fit_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

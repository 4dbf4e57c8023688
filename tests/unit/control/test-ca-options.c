/* SPDX-License-Identifier: Apache-2.0 */
/* ca_options - times and sizes as Istio's variables have them; a mistake names its option. */
#include "userspace/control/ca_options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct ca_options usual = {
	.root_ttl = "87600h", .cert_ttl = "24h0m0s", .cert_ttl_max = "2160h"};

static void good_ones_are_read(void **state)
{
	struct ca_root root = {.trust_domain = "x"};
	struct ca_settings s = {0};
	char err[256];

	assert_int_equal(ca_options_read(&usual, &s, &root, err, sizeof(err)), 0);
	assert_int_equal(s.ttl_s, 86400);
	assert_int_equal(s.ttl_max_s, CA_TTL_MAX_S);
	assert_int_equal(root.ttl_s, 87600LL * 3600);
	assert_int_equal(root.rsa_bits, 0);
	assert_string_equal(root.trust_domain, "x");
}

static void a_mistake_names_its_option(void **state)
{
	static const struct {
		struct ca_options o;
		const char *option;
	} table[] = {
		{{"ten years", "1h", "1h", 0}, "--root-ttl"},
		{{"", "1h", "1h", 0}, "--root-ttl"},
		{{"1h", "-1h", "1h", 0}, "--cert-ttl"},
		{{"1h", "5ms", "1h", 0}, "--cert-ttl"},
		{{"1h", "1h", "1", 0}, "--max-cert-ttl"},
		{{"1h", "1h", "99999999999h", 0}, "--max-cert-ttl"},
		{{"1h", "1h", "1h", 1024}, "--root-rsa-bits"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct ca_root root = {.ttl_s = 7};
		struct ca_settings s = {.ttl_s = 7};
		char err[256] = "";

		assert_int_equal(ca_options_read(&table[i].o, &s, &root, err, sizeof(err)),
				 -EINVAL);
		assert_non_null(strstr(err, table[i].option));
		assert_int_equal(s.ttl_s, 7);
		assert_int_equal(root.ttl_s, 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones_are_read),
		cmocka_unit_test(a_mistake_names_its_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

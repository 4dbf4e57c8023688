/* SPDX-License-Identifier: Apache-2.0 */
/* words - names, labels, ports and addresses: what Kubernetes takes, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "source/schema.h"

#define SIXTY_THREE "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	bool (*is)(const char *s);
	const char *text;
	bool want;
} cases[] = {
	{word_is_label, "a", true},
	{word_is_label, "a-1", true},
	{word_is_label, SIXTY_THREE, true},
	{word_is_label, SIXTY_THREE "a", false},
	{word_is_label, "", false},
	{word_is_label, "-a", false},
	{word_is_label, "a-", false},
	{word_is_label, "A", false},
	{word_is_label, "a.b", false},
	{word_is_label, "a/b", false},
	{word_is_subdomain, "a.b-c.d", true},
	{word_is_subdomain, "a..b", false},
	{word_is_subdomain, ".a", false},
	{word_is_subdomain, "a.", false},
	{word_is_subdomain, "", false},
	{word_is_subdomain, "a_b", false},
	{word_is_port_name, "http", true},
	{word_is_port_name, "http-web2", true},
	{word_is_port_name, "8080", false},
	{word_is_port_name, "a--b", false},
	{word_is_port_name, "abcdefghijklmnop", false},
	{word_is_port_name, "", false},
	{word_is_subdomain, SIXTY_THREE ".a", true},
	{word_is_subdomain, SIXTY_THREE "a.b", false},
	{word_is_name, "a.b-c.d", true},
	{word_is_name, SIXTY_THREE "a", true},
	{word_is_name, "b." SIXTY_THREE "a", true},
	{word_is_name, SIXTY_THREE SIXTY_THREE SIXTY_THREE SIXTY_THREE "a", true},
	{word_is_name, SIXTY_THREE SIXTY_THREE SIXTY_THREE SIXTY_THREE "ab", false},
	{word_is_name, "a..b", false},
	{word_is_name, "a-.b", false},
	{word_is_name, "a_b", false},
	{word_is_name, "", false},
	{word_is_label_key, SIXTY_THREE "a.io/name", true},
	{word_is_label_key, "app", true},
	{word_is_duration, "1h30m", true},
	{word_is_duration, "-1.5s", true},
	{word_is_duration, "+.5s", true},
	{word_is_duration, "1.us", true},
	{word_is_duration, "1\u00b5s7ns", true},
	{word_is_duration, "100ms", true},
	{word_is_duration, "0", true},
	{word_is_duration, "", false},
	{word_is_duration, "5", false},
	{word_is_duration, "s", false},
	{word_is_duration, ".s", false},
	{word_is_duration, "1d", false},
	{word_is_duration, "1s ", false},
	{word_is_duration, "1s2", false},
	{word_is_label_key, "app.kubernetes.io/name", true},
	{word_is_label_key, "A_b.c-d", true},
	{word_is_label_key, "/name", false},
	{word_is_label_key, "a/b/c", false},
	{word_is_label_key, "UP.io/name", false},
	{word_is_label_key, "a/", false},
	{word_is_label_key, "", false},
	{word_is_label_key, "a b", false},
	{word_is_annotation_key, "UP.io/Name", true},
	{word_is_annotation_key, "UP_.io/name", false},
	{word_is_annotation_key, "Up.io/", false},
	{word_is_annotation_key, SIXTY_THREE SIXTY_THREE SIXTY_THREE SIXTY_THREE "a/" SIXTY_THREE,
	 true},
	{word_is_annotation_key,
	 SIXTY_THREE SIXTY_THREE SIXTY_THREE SIXTY_THREE "a/" SIXTY_THREE "a", false},
	{word_is_annotation_key, "", false},
	{word_is_label_value, "", true},
	{word_is_label_value, "v1.2_x-Y", true},
	{word_is_label_value, "-x", false},
	{word_is_label_value, "x y", false},
	{word_is_label_value, SIXTY_THREE "a", false},
	{word_is_ip, "10.0.0.1", true},
	{word_is_ip, "fd00::1", true},
	{word_is_ip, "10.0.0.256", false},
	{word_is_ip, "10.0.0.0/8", false},
	{word_is_ip, "", false},
	{word_is_ip_or_cidr, "10.0.0.0/8", true},
	{word_is_ip_or_cidr, "fd00::/64", true},
	{word_is_ip_or_cidr, "10.0.0.1", true},
	{word_is_ip_or_cidr, "10.0.0.0/33", false},
	{word_is_ip_or_cidr, "*", false},
	{word_is_port, "1", true},
	{word_is_port, "65535", true},
	{word_is_port, "0", false},
	{word_is_port, "65536", false},
	{word_is_port, "80a", false},
	{word_is_port, "-1", false},
	{word_is_port, "", false},
};

static void words_are_told_apart(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (cases[i].is(cases[i].text) != cases[i].want)
			fail_msg("case %zu: \"%s\"", i, cases[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(words_are_told_apart)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

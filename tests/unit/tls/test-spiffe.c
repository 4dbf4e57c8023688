/* SPDX-License-Identifier: Apache-2.0 */
/* spiffe - well-formed IDs come apart and together again; everything else is refused. */
#include "tls/spiffe.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const malformed[] = {
	"",
	"spiffe://",
	"http://td/ns/a/sa/b",
	"SPIFFE://td/ns/a/sa/b",
	"spiffe:///ns/a/sa/b",
	"spiffe://td/ns//sa/b",
	"spiffe://td/ns/a/sa/",
	"spiffe://td/ns/a/sa/b/",
	"spiffe://td/ns/a/sa/b/c",
	"spiffe://td/ns/a",
	"spiffe://td/sa/b/ns/a",
	"spiffe://TD/ns/a/sa/b",
	"spiffe://td:80/ns/a/sa/b",
	"spiffe://u@td/ns/a/sa/b",
	"spiffe://td/ns/a%20/sa/b",
	"spiffe://td/ns/../sa/b",
	"spiffe://td/ns/a/sa/.",
	"spiffe://td/ns/a/sa/b?x",
	"spiffe://td/ns/a/sa/b#x",
	"spiffe://td/ns/a/sa/b ",
	" spiffe://td/ns/a/sa/b",
	"spiffe://td/ns/a/sa/b,DNS:x",
	"spiffe://td/ns/a\n/sa/b",
	"spiffe://td//ns/a/sa/b",
};

static void refuses_malformed_ids(void **state)
{
	struct spiffe_id id = {.trust_domain = "untouched"};

	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
		assert_int_equal(spiffe_parse(malformed[i], &id), -EINVAL);
	assert_string_equal(id.trust_domain, "untouched");
}

static void takes_an_id_apart(void **state)
{
	struct spiffe_id id;

	assert_int_equal(spiffe_parse("spiffe://cluster.local/ns/my-ns/sa/My_Account.1", &id), 0);
	assert_string_equal(id.trust_domain, "cluster.local");
	assert_string_equal(id.namespace_, "my-ns");
	assert_string_equal(id.service_account, "My_Account.1");
}

static void formats_what_it_can_parse(void **state)
{
	char text[SPIFFE_ID_SIZE];

	assert_int_equal(spiffe_format("td", "a", "b", text), 0);
	assert_string_equal(text, "spiffe://td/ns/a/sa/b");
	assert_int_equal(spiffe_format("td", "a/sa/x", "b", text), -EINVAL);
	assert_string_equal(text, "");
	assert_int_equal(spiffe_format("td", "", "b", text), -EINVAL);
	assert_int_equal(spiffe_format("td", "a", "b/c", text), -EINVAL);
}

static void keeps_to_the_lengths(void **state)
{
	char td[300], ns[100], sa[300], text[SPIFFE_ID_SIZE];

	memset(td, 'a', sizeof(td));
	memset(ns, 'a', sizeof(ns));
	memset(sa, 'a', sizeof(sa));
	td[SPIFFE_TRUST_DOMAIN_MAX] = ns[SPIFFE_NAMESPACE_MAX] = sa[SPIFFE_ACCOUNT_MAX] = '\0';
	assert_int_equal(spiffe_format(td, ns, sa, text), 0);
	ns[SPIFFE_NAMESPACE_MAX] = 'a';
	ns[SPIFFE_NAMESPACE_MAX + 1] = '\0';
	assert_int_equal(spiffe_format(td, ns, sa, text), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_malformed_ids),
		cmocka_unit_test(takes_an_id_apart),
		cmocka_unit_test(formats_what_it_can_parse),
		cmocka_unit_test(keeps_to_the_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

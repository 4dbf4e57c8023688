/* SPDX-License-Identifier: Apache-2.0 */
/* accept - how much a media type is wanted. */
#include "http/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"

static const struct {
	const char *accept;
	unsigned int want; /* of text/plain */
} cases[] = {
	{"", 0},
	{"*/*", 0},
	{"text/plain", 1000},
	{"Text/Plain; version=0.0.4", 1000},
	{"text/plainer, text/html", 0},
	{"text/plai", 0},
	{"text/html;q=0.9,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", 200},
	{"text/plain;version=1.0.0 ; Q=0.25", 250},
	{"text/plain;q=0", 0},
	{"text/plain;q=0.000", 0},
	{"text/plain;q=1", 1000},
	{"text/plain;q=0.12345", 123},
	{"text/plain;q=0.3, text/plain;version=0.0.4;q=0.5 ,text/plain;q=0.4", 500},
	{"text/plain;", 1000},
	{"text/plain;q=", 1000},
	{",, ,text/plain;;;q=0.5", 500},
	/* of the next one's parameters nothing is its own */
	{"text/plain,text/html;q=0.1", 1000},
};

static void a_media_type_is_wanted_as_much_as_its_quality(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (http_accept_quality(cases[i].accept, "text/plain") != cases[i].want)
			fail_msg("%s: %u", cases[i].accept,
				 http_accept_quality(cases[i].accept, "text/plain"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_media_type_is_wanted_as_much_as_its_quality),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* head - what decides is kept exactly, telemetry is dropped when odd, Forwarded is read strictly.
 */
#include "hbone/head.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void add(struct hbone_head *h, const char *name, const char *value)
{
	hbone_head_add(h, (const uint8_t *)name, strlen(name), (const uint8_t *)value,
		       strlen(value));
}

static void keeps_what_decides(void **state)
{
	struct hbone_head h;

	hbone_head_reset(&h);
	add(&h, ":method", "CONNECT");
	add(&h, ":authority", "[fd00::1]:8080");
	add(&h, "forwarded", "for=\"10.0.0.1:80\"");
	add(&h, "x-unknown", "whatever");
	assert_true(h.is_connect);
	assert_false(h.is_too_big);
	assert_string_equal(h.authority, "[fd00::1]:8080");
	assert_string_equal(h.forwarded, "for=\"10.0.0.1:80\"");
}

static void refuses_other_methods(void **state)
{
	static const char *const methods[] = {"GET", "connect", "CONNECTX", "CONNEC", ""};
	struct hbone_head h;

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		hbone_head_reset(&h);
		add(&h, ":method", methods[i]);
		assert_false(h.is_connect);
	}
}

static void marks_an_authority_that_cannot_be(void **state)
{
	char name[HBONE_AUTHORITY_MAX + 1];
	struct hbone_head h;

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	hbone_head_reset(&h);
	add(&h, ":authority", name);
	assert_true(h.is_too_big);
	hbone_head_reset(&h);
	add(&h, ":authority",
	    "a\x01"
	    "b:1");
	assert_true(h.is_too_big);
	hbone_head_reset(&h);
	hbone_head_add(&h, (const uint8_t *)":authority", 10, (const uint8_t *)"a\0b:1", 5);
	assert_true(h.is_too_big);
}

static void bounds_the_header_list(void **state)
{
	char value[1000];
	struct hbone_head h;

	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	hbone_head_reset(&h);
	for (int i = 0; i < 20; i++)
		add(&h, "x-fill", value);
	assert_true(h.is_too_big);
}

static void drops_an_odd_forwarded(void **state)
{
	static char value[HBONE_FORWARDED_MAX + 10];
	struct hbone_head h;

	memset(value, 'x', sizeof(value) - 1);
	hbone_head_reset(&h);
	add(&h, "forwarded", value);
	assert_string_equal(h.forwarded, "");
	add(&h, "forwarded", "for=\x01");
	assert_string_equal(h.forwarded, "");
	assert_false(h.is_too_big);
}

static void reads_a_status(void **state)
{
	struct hbone_head h;

	hbone_head_reset(&h);
	add(&h, ":status", "401");
	assert_int_equal(h.status, 401);
	add(&h, ":status", "2x0");
	assert_int_equal(h.status, 0);
}

static void reads_forwarded(void **state)
{
	char v[64];

	assert_int_equal(hbone_forwarded_get("for=\"1.2.3.4:5\";host=a.b.svc", "for", v, 64), 0);
	assert_string_equal(v, "1.2.3.4:5");
	assert_int_equal(hbone_forwarded_get("for=\"1.2.3.4:5\";host=a.b.svc", "host", v, 64), 0);
	assert_string_equal(v, "a.b.svc");
	assert_int_equal(hbone_forwarded_get("For=\"[::1]:5\"", "for", v, 64), 0);
	assert_string_equal(v, "[::1]:5");
	assert_int_equal(hbone_forwarded_get("for=\"a;host=evil\";host=good", "host", v, 64), 0);
	assert_string_equal(v, "good");
}

static void refuses_bad_forwarded(void **state)
{
	char v[8] = "same";

	assert_int_equal(hbone_forwarded_get("", "for", v, 8), -ENOENT);
	assert_int_equal(hbone_forwarded_get(";;;,,,", "for", v, 8), -ENOENT);
	assert_int_equal(hbone_forwarded_get("for", "for", v, 8), -ENOENT);
	assert_int_equal(hbone_forwarded_get("for=\"1.2.3.4", "for", v, 8), -EINVAL);
	assert_int_equal(hbone_forwarded_get("for=123456789", "for", v, 8), -ENOBUFS);
	assert_int_equal(hbone_forwarded_get("for=\"", "for", v, 8), -EINVAL);
	assert_string_equal(v, "same");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_what_decides),
		cmocka_unit_test(refuses_other_methods),
		cmocka_unit_test(marks_an_authority_that_cannot_be),
		cmocka_unit_test(bounds_the_header_list),
		cmocka_unit_test(drops_an_odd_forwarded),
		cmocka_unit_test(reads_a_status),
		cmocka_unit_test(reads_forwarded),
		cmocka_unit_test(refuses_bad_forwarded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

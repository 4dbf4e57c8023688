/* SPDX-License-Identifier: Apache-2.0 */
/* buf - what goes in comes out, the limit holds, consumed room is used again. */
#include "base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void bytes_come_out_in_order(void **state)
{
	_cleanup_(buf_resetp) struct buf b = {0};

	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_printf(&b, "%03d", i), 0);
	assert_int_equal(buf_len(&b), 3000);
	assert_memory_equal(buf_head(&b), "000001002", 9);
	buf_consume(&b, 2997);
	assert_memory_equal(buf_head(&b), "999", 3);
	buf_consume(&b, 3);
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(b.start, 0);
}

static void consumed_room_is_used_again(void **state)
{
	_cleanup_(buf_resetp) struct buf b = {0};
	char block[200] = {0};

	for (int i = 0; i < 10000; i++) {
		assert_int_equal(buf_append(&b, block, sizeof(block)), 0);
		buf_consume(&b, sizeof(block) - (i == 0));
	}
	assert_true(b.cap <= 1024);
}

static void the_limit_is_exact(void **state)
{
	_cleanup_(buf_resetp) struct buf b = {.limit = 5};

	assert_int_equal(buf_append_str(&b, "abcde"), 0);
	assert_int_equal(buf_append_str(&b, "f"), -ENOBUFS);
	assert_int_equal(buf_printf(&b, "%d", 1), -ENOBUFS);
	assert_int_equal(buf_len(&b), 5);
	buf_consume(&b, 1);
	assert_int_equal(buf_printf(&b, "%c", 'g'), 0);
	assert_memory_equal(buf_head(&b), "bcdeg", 5);
}

static void absurd_sizes_are_refused(void **state)
{
	_cleanup_(buf_resetp) struct buf b = {0};

	assert_int_equal(buf_append_str(&b, "x"), 0);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOMEM);
	assert_int_equal(buf_reserve(&b, SIZE_MAX / 4), -ENOMEM);
	assert_int_equal(buf_len(&b), 1);
}

static void consuming_too_much_stops_at_the_end(void **state)
{
	_cleanup_(buf_resetp) struct buf b = {0};

	assert_int_equal(buf_append_str(&b, "abc"), 0);
	buf_consume(&b, 1000);
	assert_int_equal(buf_len(&b), 0);
}

static void reset_keeps_the_limit(void **state)
{
	struct buf b = {.limit = 3};

	assert_int_equal(buf_append_str(&b, "abc"), 0);
	buf_wipe(&b);
	assert_null(b.data);
	assert_int_equal(b.limit, 3);
	buf_reset(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_come_out_in_order),
		cmocka_unit_test(consumed_room_is_used_again),
		cmocka_unit_test(the_limit_is_exact),
		cmocka_unit_test(absurd_sizes_are_refused),
		cmocka_unit_test(consuming_too_much_stops_at_the_end),
		cmocka_unit_test(reset_keeps_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

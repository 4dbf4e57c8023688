/* SPDX-License-Identifier: Apache-2.0 */
/* pace and frames by themselves: when a connection rests, where frames end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "hbone/frames.h"
#include "hbone/pace.h"
#include "hbone/session.h"
#include "tls/records.h"

#define SMALL 10 /* bytes of a frame of one */

static void frames_end_where_they_end(void **state)
{
	/* a preface and two frames, of 2 bytes and of none */
	static const uint8_t all[FRAMES_PREFACE + 11 + 9] = {[FRAMES_PREFACE + 2] = 2};
	struct frames f = {.left = FRAMES_PREFACE};

	assert_int_equal(frames_part(&f, all, sizeof(all), 1), FRAMES_PREFACE);
	assert_int_equal(frames_count(f, all + FRAMES_PREFACE, 20), 2);
	assert_int_equal(frames_part(&f, all + FRAMES_PREFACE, 20, 1), 11);
	assert_int_equal(frames_part(&f, all + FRAMES_PREFACE + 11, 9, 9), 9);
	/* in any pieces */
	for (size_t piece = 1; piece < sizeof(all); piece++) {
		size_t at = 0, end = FRAMES_PREFACE + 11;

		f = (struct frames){.left = FRAMES_PREFACE};
		while (at < end)
			at += frames_part(&f, all + at, MIN(piece, end - at), sizeof(all));
		assert_int_equal(f.left, 0);
		assert_int_equal(frames_part(&f, all + at, 9, 1), 9);
	}
}

/* What one connection has read, and when. */
struct reads {
	struct pace pace;
	struct pace_heard heard;
	uint64_t now_us;
};

/* rest_after() - @us after the last read or rest one of @n frames of @size bytes each, their heads
 * among them, of @streams that take turns. */
static uint32_t rest_after(struct reads *r, uint64_t us, uint64_t n, size_t size, uint64_t streams)
{
	uint32_t rest_us;

	r->now_us += us;
	r->heard.bytes += n * size;
	r->heard.frames += n;
	r->heard.repeats += n - streams;
	rest_us = pace_heard(&r->pace, &r->heard, r->now_us);
	r->now_us += rest_us;
	return rest_us;
}

static void the_rest_grows_while_all_that_comes_is_tiny(void **state)
{
	static const uint32_t rests[] = {1000, 2000, 4000, 8000, 8000, 8000};
	struct reads r = {.now_us = PACE_SPAN_US};

	for (int again = 0; again < 3; again++) {
		for (size_t i = 0; i < ARRAY_SIZE(rests); i++)
			assert_int_equal(rest_after(&r, 10, 1600, SMALL, 2), rests[i]);
		/* other frames, or few in that time, or none */
		for (int i = 0; i < 100 && again == 0; i++)
			assert_int_equal(rest_after(&r, 10, 20, 16384, 1), 0);
		for (int i = 0; i < 100 && again == 1; i++)
			assert_int_equal(rest_after(&r, 1000, 50, SMALL, 1), 0);
		r.now_us += 2 * PACE_SPAN_US;
	}
}

/* Who reads as fast as they are written has few of them at a time. */
static void tiny_frames_of_many_reads_have_a_rest(void **state)
{
	struct reads r = {.now_us = PACE_SPAN_US};
	uint32_t rest_us = 0;
	int reads = 0;

	for (uint32_t want = PACE_REST_US; want <= PACE_REST_US_MAX; want *= 2, rest_us = 0) {
		for (; rest_us == 0 && reads < 1000; reads++)
			rest_us = rest_after(&r, 10, 64, SMALL, 1);
		assert_int_equal(rest_us, want);
	}
}

/* Each stream waits for an answer before it says more. */
static void small_messages_of_many_streams_have_no_rest(void **state)
{
	struct reads r = {.now_us = PACE_SPAN_US};

	for (int i = 0; i < 1000; i++)
		assert_int_equal(rest_after(&r, 100, HBONE_SERVER_STREAMS_MAX, SMALL,
					    HBONE_SERVER_STREAMS_MAX),
				 0);
}

/* However many come at once: of ten bytes, or of one in a record each, as keystrokes are. */
static void frames_of_a_few_bytes_have_no_rest(void **state)
{
	struct reads r = {.now_us = PACE_SPAN_US};

	for (int i = 0; i < 100; i++) {
		assert_int_equal(rest_after(&r, 10, 10000, 9 + 10, 1), 0);
		assert_int_equal(rest_after(&r, 10, 10000, SMALL + TLS_RECORD_OVERHEAD, 1), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_end_where_they_end),
		cmocka_unit_test(the_rest_grows_while_all_that_comes_is_tiny),
		cmocka_unit_test(tiny_frames_of_many_reads_have_a_rest),
		cmocka_unit_test(small_messages_of_many_streams_have_no_rest),
		cmocka_unit_test(frames_of_a_few_bytes_have_no_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

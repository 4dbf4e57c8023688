/* SPDX-License-Identifier: Apache-2.0 */
/* direct_news - what the programs say of an end is what ztunnel is told. */
#include "userspace/agent/direct_news.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/macros.h"

static void an_end_is_told_as_it_was(void **state)
{
	static const struct {
		uint32_t flags;
		enum zds_direct_what what;
		bool is_cut;
	} cases[] = {
		{CV_DIRECT_ESTABLISHED | CV_DIRECT_ACCEPTED, ZDS_DIRECT_CLOSED},
		{CV_DIRECT_ESTABLISHED, ZDS_DIRECT_CLOSED},
		{CV_DIRECT_ESTABLISHED | CV_DIRECT_ACCEPTED | CV_DIRECT_RESET, ZDS_DIRECT_RESET},
		{CV_DIRECT_ESTABLISHED | CV_DIRECT_RESET, ZDS_DIRECT_RESET},
		{0, ZDS_DIRECT_FAILED},
		{CV_DIRECT_ESTABLISHED | CV_DIRECT_RESET, ZDS_DIRECT_CUT, true},
		{CV_DIRECT_ESTABLISHED, ZDS_DIRECT_CUT, true},
		{0, ZDS_DIRECT_FAILED, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct cv_direct_event ev = {.reason = CV_DIRECT_CLOSE,
						   .flags = cases[i].flags};

		assert_int_equal(direct_news_end(&ev, cases[i].is_cut), cases[i].what);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_end_is_told_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

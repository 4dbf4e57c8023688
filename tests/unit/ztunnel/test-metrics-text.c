/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_text - the form that is asked for, and what differs between the two. */
#include "ztunnel/metrics_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

#define COUNTER "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"# TYPE a_b counter\"} 1\n"
#define GAUGE   "# HELP g Things now.\n# TYPE g gauge\ng 2\n"
#define UNIT    "# HELP h_seconds Time.\n# TYPE h_seconds histogram\n"
#define SAMPLES "h_seconds_bucket{le=\"+Inf\"} 3\nh_seconds_sum 1.5\nh_seconds_count 3\n"

/* As Prometheus sends it, and as it does when it is to prefer the older text. */
#define NEW_FIRST                                                                                  \
	"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"                   \
	"application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/"       \
	"*;q=0.2"
#define OLD_FIRST "text/plain;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5"

static const char *finish(struct buf *b, const char *accept)
{
	const char *type;

	buf_reset(b);
	assert_int_equal(buf_append_str(b, COUNTER GAUGE UNIT "# UNIT h_seconds seconds\n" SAMPLES),
			 0);
	type = metrics_finish(b, metrics_is_openmetrics(accept));
	assert_non_null(type);
	assert_int_equal(buf_append(b, "", 1), 0);
	return type;
}

static void who_asks_for_openmetrics_has_it_with_its_end(void **state)
{
	struct buf b = {0};

	assert_string_equal(finish(&b, NEW_FIRST),
			    "application/openmetrics-text; version=1.0.0; charset=utf-8");
	assert_string_equal(buf_head(&b),
			    COUNTER GAUGE UNIT "# UNIT h_seconds seconds\n" SAMPLES "# EOF\n");
	buf_reset(&b);
}

static void others_have_the_older_text(void **state)
{
	static const char *const others[] = {"", "*/*", "text/plain", OLD_FIRST,
					     "application/openmetrics-text;q=0"};
	struct buf b = {0};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_string_equal(finish(&b, others[i]),
				    "text/plain; version=0.0.4; charset=utf-8");
		assert_string_equal(buf_head(&b),
				    "# HELP a_b_total Things.\n# TYPE a_b_total counter\n"
				    "a_b_total{x=\"# TYPE a_b counter\"} 1\n" GAUGE UNIT SAMPLES);
	}
	buf_reset(&b);
}

static void nothing_is_nothing(void **state)
{
	struct buf b = {0};

	assert_non_null(metrics_finish(&b, false));
	assert_int_equal(buf_len(&b), 0);
	/* cut in the middle of a line */
	assert_int_equal(buf_append_str(&b, "# HELP a A.\n# TYPE a counter"), 0);
	assert_non_null(metrics_finish(&b, false));
	assert_memory_equal(buf_head(&b), "# HELP a A.\n# TYPE a counter", buf_len(&b));
	buf_reset(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_asks_for_openmetrics_has_it_with_its_end),
		cmocka_unit_test(others_have_the_older_text),
		cmocka_unit_test(nothing_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

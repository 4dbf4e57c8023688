/* SPDX-License-Identifier: Apache-2.0 */
/* metrics - OpenMetrics text, every reason and every state. */
#include "userspace/agent/metrics.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void every_reason_and_state_has_a_line(void **state)
{
	uint64_t counters[CV_REASON_MAX] = {[CV_TUNNEL] = 7, [CV_DROP_KIND] = UINT64_MAX};
	size_t pods[PODS_STATE_MAX] = {[PODS_CAPTURED] = 3};
	uint64_t no_room[DATAPATH_MAP_MAX] = {[DATAPATH_VERDICTS] = 5};
	struct buf b = {0};
	const char *text;

	assert_int_equal(metrics_format(&b, counters, pods, no_room), 0);
	assert_int_equal(buf_append(&b, "", 1), 0);
	text = (const char *)buf_head(&b);
	assert_non_null(strstr(text, "# TYPE culvert_bpf_events counter\n"));
	assert_non_null(strstr(text, "culvert_bpf_events_total{reason=\"tunnel\"} 7\n"));
	assert_non_null(strstr(text, "{reason=\"socket_kind\"} 18446744073709551615\n"));
	assert_non_null(strstr(text, "culvert_agent_pods{state=\"captured\"} 3\n"));
	assert_non_null(strstr(text, "culvert_agent_pods{state=\"error\"} 0\n"));
	assert_non_null(strstr(text, "culvert_agent_map_full_total{map=\"cv_verdicts\"} 5\n"));
	assert_non_null(strstr(text, "culvert_agent_map_full_total{map=\"cv_locals\"} 0\n"));
	assert_null(strstr(text, "\"none\""));
	assert_null(strstr(text, "# EOF"));
	buf_reset(&b);
}

static void a_full_buffer_is_an_error(void **state)
{
	uint64_t counters[CV_REASON_MAX] = {0};
	size_t pods[PODS_STATE_MAX] = {0};
	uint64_t no_room[DATAPATH_MAP_MAX] = {0};
	struct buf b = {.limit = 100};

	assert_true(metrics_format(&b, counters, pods, no_room) < 0);
	buf_reset(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reason_and_state_has_a_line),
		cmocka_unit_test(a_full_buffer_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

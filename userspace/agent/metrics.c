/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <inttypes.h>

#include "base/macros.h"
#include "events.h"

/* Those that the agent writes; of what the programs write map_full tells. */
static const enum datapath_map written[] = {
	DATAPATH_PODS,           DATAPATH_POD_ADDRS,      DATAPATH_WORKLOADS,
	DATAPATH_SERVICES,       DATAPATH_FRONTENDS,      DATAPATH_RANGES,
	DATAPATH_REGISTERED,     DATAPATH_OUTBOUND_RULES, DATAPATH_INBOUND_RULES,
	DATAPATH_INBOUND_RANGES, DATAPATH_STEER,          DATAPATH_LOCALS,
	DATAPATH_VERDICTS,       DATAPATH_LINKS,          DATAPATH_POD_LINKS,
	DATAPATH_EXEMPT,
};

static int no_room_format(struct buf *b, const uint64_t no_room[DATAPATH_MAP_MAX])
{
	int r = buf_append_str(b,
			       "# HELP culvert_agent_map_full Tries to write an entry that found "
			       "no room in a BPF map.\n"
			       "# TYPE culvert_agent_map_full counter\n");

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(written); i++)
		r = buf_printf(b, "culvert_agent_map_full_total{map=\"%s\"} %" PRIu64 "\n",
			       datapath_map_name(written[i]), no_room[written[i]]);
	return r;
}

int metrics_format(struct buf *b, const uint64_t counters[CV_REASON_MAX],
		   const size_t pods[PODS_STATE_MAX], const uint64_t no_room[DATAPATH_MAP_MAX])
{
	int r;

	r = buf_append_str(b,
			   "# HELP culvert_bpf_events What the BPF programs decided, by reason.\n"
			   "# TYPE culvert_bpf_events counter\n");
	for (uint32_t i = CV_NONE + 1; r == 0 && i < CV_REASON_MAX; i++)
		r = buf_printf(b, "culvert_bpf_events_total{reason=\"%s\"} %" PRIu64 "\n",
			       reason_label(i), counters[i]);
	if (r == 0)
		r = buf_append_str(b, "# HELP culvert_agent_pods Pods of this node by state.\n"
				      "# TYPE culvert_agent_pods gauge\n");
	for (int i = 0; r == 0 && i < PODS_STATE_MAX; i++)
		r = buf_printf(b, "culvert_agent_pods{state=\"%s\"} %zu\n",
			       pods_state_name((enum pods_state)i), pods[i]);
	return r < 0 ? r : no_room_format(b, no_room);
}

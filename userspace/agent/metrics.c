/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <inttypes.h>

#include "base/macros.h"
#include "events.h"

/* Maps that may lack entries without any connection being refused; of the others map_full tells. */
static const enum datapath_map spared[] = {DATAPATH_FRONTENDS, DATAPATH_LOCALS, DATAPATH_VERDICTS};

static int no_room_format(struct buf *b, const uint64_t no_room[DATAPATH_MAP_MAX])
{
	int r = buf_append_str(b, "# HELP culvert_agent_map_full Entries that found no room in a "
				  "BPF map; their connections use the tunnel.\n"
				  "# TYPE culvert_agent_map_full counter\n");

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(spared); i++)
		r = buf_printf(b, "culvert_agent_map_full_total{map=\"%s\"} %" PRIu64 "\n",
			       datapath_map_name(spared[i]), no_room[spared[i]]);
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

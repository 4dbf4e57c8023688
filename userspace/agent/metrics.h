/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* metrics - the agent's figures as OpenMetrics text, which ztunnel serves on its own port. Pure. */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "culvert/abi/reasons.h"
#include "datapath.h"
#include "pods.h"

/** metrics_format() - append the text, without the closing EOF line. @no_room: of
 * datapath_no_room_counts(). Return: 0; -ENOMEM. */
_must_check_ int metrics_format(struct buf *b, const uint64_t counters[CV_REASON_MAX],
				const size_t pods[PODS_STATE_MAX],
				const uint64_t no_room[DATAPATH_MAP_MAX]);

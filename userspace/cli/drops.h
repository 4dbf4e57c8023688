/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* drops - records and table of `culvert drops`. */
#include <jansson.h>
#include <stdbool.h>

#include "base/macros.h"

/** drops_add_kernel() - from the agent's /status `counters`. @is_all: the paths that are no drops,
 * too. Reasons that were never counted are left out. */
void drops_add_kernel(json_t *records, const char *node, const json_t *counters, bool is_all);

/** drops_add_ztunnel() - from the text of ztunnel's /metrics: refused connections by direction and
 * response_flags. */
void drops_add_ztunnel(json_t *records, const char *node, const char *metrics);

/** drops_set_rates() - `perSecond` of @now against what @before (NULL: none) counted @seconds ago.
 */
void drops_set_rates(json_t *now, const json_t *before, double seconds);

/** drops_print() - at most 100 columns. Return: 0; -ENOMEM. */
_must_check_ int drops_print(const json_t *records);

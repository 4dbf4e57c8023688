/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* baggage - who we are, for the peer's telemetry. Never used to decide anything. Any thread. */
#include <stddef.h>

struct workload;

/** baggage_format() - the baggage header of a workload; NULL, or what does not fit, gives less
 * text. */
void baggage_format(const struct workload *w, char *into, size_t size);

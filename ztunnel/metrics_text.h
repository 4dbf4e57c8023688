/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* metrics_text - the form in which a scrape is answered. No state. */
#include <stdbool.h>

#include "base/macros.h"

struct buf;

/** metrics_is_openmetrics() - does who sent this Accept field want OpenMetrics, and not rather the
 * older text? */
bool metrics_is_openmetrics(const char *accept);
/** metrics_finish() - @text, OpenMetrics without its end, as it is to be sent: with the end, or
 * made Prometheus' text 0.0.4. Return: static, its content type; NULL: no memory. */
const char *metrics_finish(struct buf *text, bool is_openmetrics);

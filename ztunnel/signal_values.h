/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* signal_values - what the expressions of Telemetry resources say of a connection. Any thread. */
#include <stdbool.h>
#include <stdint.h>

#include "ztunnel/telemetry.h"

struct cel;
struct cel_value;

/** struct conn_end - how a connection ended. */
struct conn_end {
	enum conn_flags flags;
	const char *error; /* NULL: it ended well */
	uint64_t now_us;   /* CLOCK_MONOTONIC */
	bool was_open;
};

/** signal_passes() - is the filter true of it? What hangs on something that this connection does
 * not have (the identity of a plaintext peer) is not. */
bool signal_passes(const struct cel *filter, const struct conn_info *info,
		   const struct conn_end *end);

/** signal_text() - a label's value, as text. Return: valid as long as @room; NULL: it has none. */
const char *signal_text(const struct cel *c, const struct conn_info *info, struct cel_value *room);

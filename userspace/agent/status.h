/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* status - GET /status on the agent's admin socket: one JSON object. Pure but for what it is given.
 */
#include <stdint.h>

#include "base/buf.h"
#include "features.h"
#include "objects.h"
#include "pods.h"

struct status_input {
	const char *node, *pin_dir;
	bool is_ztunnel_connected, is_control_connected;
	const char *control_failure; /* "": none */
	const struct pods *pods;
	const struct objects *objects;
	const struct feature *features; /* FEATURE_COUNT of them */
	const char *problems[6];        /* of the agent as a whole; NULL: none */
	const uint64_t *counters;       /* CV_REASON_MAX of them; NULL: could not be read */
};

/** status_format() - append the JSON text and a newline. Return: 0; -ENOMEM. */
_must_check_ int status_format(const struct status_input *in, struct buf *b);

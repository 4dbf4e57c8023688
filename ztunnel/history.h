/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* history - the last connections that ended at one worker, with all that their access log line
 * says, whether that was printed or not. Filled by its one writer; read by the main thread. A ring
 * of fixed size: nothing before the first connection, under half a megabyte when full. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct conn_end;
struct conn_info;
struct history; /* opaque */

#define HISTORY_RECORDS 512

_must_check_ int history_new(struct history **ret);
/** history_free() - takes NULL. */
struct history *history_free(struct history *h);
DEFINE_CLEANUP(struct history *, history_free);

/** history_add() - it has ended; the oldest is forgotten when there is no room. What is too long is
 * cut and ends in ".."; what is not ASCII becomes "?". Without memory for the ring it is not
 * remembered.
 * @policy: "ns/name" that denied it, or NULL. */
void history_add(struct history *h, const struct conn_info *info, const struct conn_end *end,
		 const char *policy);

/**
 * history_to_json() - append what is remembered, oldest first, to the array @into
 * Any thread. The keys are those of userspace/cli/README.md.
 * @io_since_us: CLOCK_REALTIME; raised to the moment since when this ring has all.
 * Return: 0; -ENOMEM.
 */
_must_check_ int history_to_json(struct history *h, json_t *into, uint64_t *io_since_us);

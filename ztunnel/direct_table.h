/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* direct_table - the direct connections that are open, as the agent tells of them, and how much of
 * their bytes has been counted. Thread: the main loop. */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/zds.h"

/* More are counted at their end only. */
#define DIRECT_TABLE_MAX 65536
/* One that the agent has not told of for so long has ended unseen. */
#define DIRECT_TABLE_IDLE_US (60ull * 1000 * 1000)

struct direct_table; /* opaque */

_must_check_ int direct_table_new(struct direct_table **ret);
struct direct_table *direct_table_free(struct direct_table *t);
DEFINE_CLEANUP(struct direct_table *, direct_table_free);

/**
 * direct_table_note() - take an event in
 * @ret_sent, @ret_received: what is new since the last one, to be counted. Of a connection that was
 * open before this process was: nothing at first.
 */
void direct_table_note(struct direct_table *t, const struct zds_direct *m, uint64_t now_us,
		       uint64_t *ret_sent, uint64_t *ret_received);

/** direct_table_each() - what is open; m->sent and received as last heard. */
void direct_table_each(const struct direct_table *t, uint64_t now_us,
		       void (*fn)(void *arg, const struct zds_direct *m), void *arg);

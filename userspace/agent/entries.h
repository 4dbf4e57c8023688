/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* entries - the entries of dests' maps: how many resources want each, and as what. A mesh
 * destination that nobody wants any more lingers for ENTRIES_LINGER_US: until kube-proxy and the
 * node it was on have heard of its end, too, their way there is one in plaintext, while of what
 * ztunnel no longer knows its dials are refused. What is somebody else's by then is so at once.
 * Owner: dests. Thread: loop only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "dests.h"

#define ENTRIES_LINGER_US (10ull * 1000 * 1000)

struct entries; /* opaque */

enum entries_claim {
	ENTRIES_MESH, /* a destination of the mesh */
	ENTRIES_OURS, /* the same, and no way but ours leads there: it does not linger */
	ENTRIES_NODE, /* a node */
	/* outside the mesh: known, so that nobody takes it for one that was not told of; no entry
	 * in DESTS_SERVICES */
	ENTRIES_PLAIN,
};

/** struct entries_key - @label: of who has it, for people; all borrowed. */
struct entries_key {
	enum dests_map map;
	const void *key;
	const char *label;
};

/** entries_new() - none. @ops, @arg: as dests_config; borrowed. Return: 0; -ENOMEM. */
_must_check_ int entries_new(const struct dests_ops *ops, void *arg, struct entries **ret);
/** entries_free() - forget everything; no callbacks. Takes NULL. Return: NULL. */
struct entries *entries_free(struct entries *s);
DEFINE_CLEANUP(struct entries *, entries_free);

/** entries_hold() - who may come to want it has memory for that. Return: 0; -ENOMEM. */
_must_check_ int entries_hold(struct entries *s, enum dests_map map, const void *key);
/** entries_release() - no more; after the last entries_drop(). */
void entries_release(struct entries *s, enum dests_map map, const void *key);
/** entries_add() - one more wants it. Out of memory, where nobody holds it, the entry is written
 * but not counted, and goes with its first user. */
void entries_add(struct entries *s, const struct entries_key *k, enum entries_claim claim);
/** entries_drop() - one of those, as the same @claim, wants it no more. */
void entries_drop(struct entries *s, const struct entries_key *k, enum entries_claim claim);

/** entries_has() - is it in the map? What lingers is. */
bool entries_has(const struct entries *s, enum dests_map map, const void *key);

/** entries_is_mesh() - does somebody want it as a mesh destination? */
bool entries_is_mesh(const struct entries *s, enum dests_map map, const void *key);

/** entries_next_end() - when the first that lingers is to go, CLOCK_MONOTONIC; 0: none lingers. */
uint64_t entries_next_end(const struct entries *s);
/** entries_end() - take out up to @limit of what has lingered by @now_us. */
void entries_end(struct entries *s, uint64_t now_us, size_t limit);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kinds - how many objects of each kind there are, and how often they came, changed and went: for
 * the status and for metrics. Owner: control. One thread. */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"

enum kinds_event {
	KINDS_ADD,
	KINDS_UPDATE,
	KINDS_DELETE,
	KINDS_EVENT_MAX,
};

struct kinds; /* opaque */

/** struct kinds_count - of one kind. */
struct kinds_count {
	size_t objects;
	uint64_t events[KINDS_EVENT_MAX]; /* since the start */
};

_must_check_ int kinds_new(struct kinds **ret);
struct kinds *kinds_free(struct kinds *k);
DEFINE_CLEANUP(struct kinds *, kinds_free);

/** kinds_count() - an object of @kind, one of those that the source reads: copied. */
void kinds_count(struct kinds *k, const char *kind, enum kinds_event event);
/** kinds_for_each() - each kind that there has been, in no order; borrowed for the call. */
void kinds_for_each(const struct kinds *k,
		    void (*fn)(void *arg, const char *kind, const struct kinds_count *count),
		    void *arg);
/** kinds_event_name() - "add", "update", "delete"; static. */
const char *kinds_event_name(enum kinds_event event);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* refusals - the last connections that the BPF programs refused or dropped, each kind once with how
 * often, so that a pod that tries again and again does not make the others forgotten. Bounded.
 * Owner: agent. Thread: loop only. */
#include <jansson.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "recall.h"

struct refusals; /* opaque */

#define REFUSALS_MAX 1024

/**
 * refusals_new() - nothing yet
 * @counters: of this moment. @now_us: CLOCK_REALTIME, read after them.
 * Return: 0; -ENOMEM.
 */
_must_check_ int refusals_new(const uint64_t counters[CV_REASON_MAX], uint64_t now_us,
			      struct refusals **ret);
/** refusals_free() - takes NULL. Return: NULL. */
struct refusals *refusals_free(struct refusals *r);
DEFINE_CLEANUP(struct refusals *, refusals_free);

/** refusals_add() - one more, at @one->last_us; the kind that was quiet for longest goes when there
 * is no room. Its first_us and count are not looked at. Without memory it is not remembered. */
void refusals_add(struct refusals *r, const struct recall *one);

/** refusals_lost() - how many at most were counted and never told, since refusals_new().
 * @counters: read before the events of the moment were. */
uint64_t refusals_lost(const struct refusals *r, const uint64_t counters[CV_REASON_MAX]);

/** refusals_to_json() - append to @into, quiet for longest first. @ret_since_us: all later ones
 * that were told are there. Return: 0; -ENOMEM. */
_must_check_ int refusals_to_json(const struct refusals *r, json_t *into, uint64_t *ret_since_us);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* sweep - removes from maps of tuples what a lost packet or a dead pod left there, a
 * bounded number of entries per second, and guards that nobody needs any more. Owner: agent.
 * Thread: loop only. */
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "datapath.h"

#define SWEEP_AFTER_NS (180ull * 1000 * 1000 * 1000)

/* Entries that are looked at per map and run. */
#define SWEEP_BATCH 512

/* A map that was empty has nothing that is stale for that long, and to see that it is empty the
 * kernel looks into each of its buckets: 0.2 ms for 65536. */
#define SWEEP_EMPTY_NS (60ull * 1000 * 1000 * 1000)

struct sweep; /* opaque */

/** struct sweep_cursor - where the walk through a map has come to. Zeroed: at its beginning. */
struct sweep_cursor {
	struct cv_tuple key;
	bool is_inside;
	uint64_t again_ns; /* the map was empty: not looked into before; CLOCK_MONOTONIC */
};

/** sweep_stale_fn() - may this entry of the map @fd go? @now_ns: CLOCK_MONOTONIC. */
typedef bool sweep_stale_fn(const struct sweep *s, int fd, const struct cv_tuple *key,
			    uint64_t now_ns);

/** sweep_walk() - look at the next SWEEP_BATCH entries of the map @fd and remove what is stale. @s
 * is for @is_stale. A map that was empty is left alone for SWEEP_EMPTY_NS. */
void sweep_walk(const struct sweep *s, int fd, struct sweep_cursor *c, sweep_stale_fn *is_stale);

/** sweep_new() - start. @d is borrowed. Return: 0; -ENOMEM. */
_must_check_ int sweep_new(struct loop *loop, struct datapath *d, struct sweep **ret);
/** sweep_free() - takes NULL. Return: NULL. */
struct sweep *sweep_free(struct sweep *s);
DEFINE_CLEANUP(struct sweep *, sweep_free);

/** sweep_is_old() - is an entry written at @time_ns stale at @now_ns? Times of CLOCK_MONOTONIC. */
static inline bool sweep_is_old(uint64_t time_ns, uint64_t now_ns)
{
	return now_ns > time_ns && now_ns - time_ns > SWEEP_AFTER_NS;
}

/** sweep_is_vouch_old() - the same of an entry of cv_vouched, whose seconds begin anew after four
 * years. One that an agent before this one has left there may name a time to come: it is stale,
 * too. */
static inline bool sweep_is_vouch_old(const struct cv_vouch *v, uint64_t now_ns)
{
	const uint32_t after_s = SWEEP_AFTER_NS / 1000000000;
	uint32_t age_s = ((uint32_t)(now_ns / 1000000000) - v->time_s) & CV_VOUCH_TIME;

	return age_s > after_s && age_s < CV_VOUCH_TIME + 1 - after_s;
}

/** sweep_is_vouch_led() - is it of a connection by a Service that the pod has accepted? */
static inline bool sweep_is_vouch_led(const struct cv_vouch *v)
{
	const uint32_t both = CV_VOUCH_LED | CV_VOUCH_ACCEPTED;

	return (v->time_s & both) == both;
}

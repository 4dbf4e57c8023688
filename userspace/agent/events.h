/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* events - what the BPF programs tell: drops become log lines (rate-limited) and are handed
 * on, new nameservers too, counters are read for status and metrics. Owner: agent. Thread: loop
 * only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/loop.h"
#include "culvert/abi/maps.h"

struct events; /* opaque */

struct events_config {
	struct loop *loop; /* borrowed */
	int ring_fd;       /* cv_events; borrowed */
	int direct_fd;     /* cv_direct_events; borrowed */
	/* name of the pod that an event is about, NULL when none; borrowed for the call */
	const char *(*pod_name)(void *arg, const struct cv_event *ev);
	void (*on_nameserver)(void *arg, const struct cv_event *ev);
	/* each, logged or not; @pod as pod_name() said */
	void (*on_drop)(void *arg, const struct cv_event *ev, const char *pod);
	/* VERDICT_MISS, DIRECT_OPEN, DIRECT_CLOSE */
	void (*on_direct)(void *arg, const struct cv_direct_event *ev);
	void (*on_read)(void *arg); /* the events of the moment have been told */
	void *arg;
};

/** events_new() - start to read. Return: 0; -errno. */
_must_check_ int events_new(const struct events_config *config, struct events **ret);
/** events_flush() - tell what is there now. */
void events_flush(struct events *e);
/** events_free() - takes NULL. Return: NULL. */
struct events *events_free(struct events *e);
DEFINE_CLEANUP(struct events *, events_free);

/** reason_label(), reason_sentence() - "ztunnel_dead" and what it means; "unknown" out of range. */
const char *reason_label(uint32_t reason);
const char *reason_sentence(uint32_t reason);

/** struct limiter - token bucket: @per_second on average, @burst at once. Zero-initialised is full.
 */
struct limiter {
	uint32_t per_second, burst;
	uint64_t used_at_us; /* when the bucket would have been full */
	uint64_t suppressed;
};
/** limiter_take() - may this one pass? Those that may not are counted in ->suppressed. */
bool limiter_take(struct limiter *l, uint64_t now_us);

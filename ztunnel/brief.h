/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* brief - how many of a worker's open connections will be gone in a moment, judged by those that
 * ended lately. To hand one of them to another worker costs a wake-up, and both workers then write
 * what one would have written at once. Pure; the caller has the clock. */
#include <stdint.h>

/* What lasts less is brief. Also the span that is looked at: this one and the one before. */
#define BRIEF_US (100 * 1000ULL)
/* Nothing is said after less than this: a few that begin together are not many at a time. */
#define BRIEF_MIN_US (10 * 1000ULL)

/* Zeroed: none has ended yet. */
struct brief {
	uint64_t begin_us;  /* since when some have ended in each span */
	uint64_t since_us;  /* when the span began */
	uint64_t lived_us;  /* by the brief ones that ended in it, together */
	uint64_t before_us; /* the same of the span before */
};

/** brief_ended() - a connection ended at @now_us (monotonic, never less than at the call before)
 * that began at @opened_us; a little later than @now_us is the same moment. */
void brief_ended(struct brief *b, uint64_t now_us, uint64_t opened_us);
/** brief_open() - Return: how many brief ones were open at a time, on average, rounded down. */
uint32_t brief_open(const struct brief *b, uint64_t now_us);

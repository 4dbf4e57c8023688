/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pace - how much is read from a connection at once. All that is read is worked off before the next
 * read, and what that takes is the number of frames more than that of bytes: where frames are small
 * little is read, and worked off in parts, so that a flood of them is no other connection's delay.
 * After many that have hardly a byte each, and most of which came in one read with another of their
 * stream, the connection rests for a moment, twice as long each time while nothing else comes: who
 * has as many writes to tell of fills its frames meanwhile, and who floods waits, without having a
 * processor of ours for itself. Small messages that wait for answers never make a rest: each stream
 * has one of them. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* One record at most is completed by it. */
#define PACE_READ_MIN (16 * 1024)
/* Frames in a read after which the next one is small, or up to which it may be larger; of so many
 * it is asked whether they were tiny, if they came within a span. */
#define PACE_MANY    1024
#define PACE_FEW     256
#define PACE_SPAN_US 10000U
/* Bytes of a frame, its head among them, below which it has hardly any. */
#define PACE_TINY 16
/* The first rest, and the longest. */
#define PACE_REST_US     1000U
#define PACE_REST_US_MAX 8000U

/** struct pace_heard - what a connection has had so far. */
struct pace_heard {
	uint64_t bytes;
	uint64_t frames;
	uint64_t repeats; /* hbone_session_repeats() */
};

/** struct pace - of one connection; zeroed before first use. */
struct pace {
	size_t room;
	struct pace_heard last;  /* at the last read */
	struct pace_heard begin; /* of the span */
	uint64_t since_us;       /* when it began, or will when a rest is over */
	uint32_t rest_us;        /* after the last many frames; 0: they were not tiny */
};

/** pace_room() - bytes that may be read now, at most @max. */
static inline size_t pace_room(const struct pace *p, size_t max)
{
	return MIN(MAX(p->room, (size_t)PACE_READ_MIN), max);
}

/** pace_is_tiny() - of all since @begin. */
static inline bool pace_is_tiny(const struct pace_heard *begin, const struct pace_heard *all)
{
	uint64_t frames = all->frames - begin->frames;

	return all->bytes - begin->bytes < frames * PACE_TINY &&
	       2 * (all->repeats - begin->repeats) > frames;
}

/** pace_rest() - @all has come. Return: microseconds in which nothing shall be read; 0: none. */
static inline uint32_t pace_rest(struct pace *p, const struct pace_heard *all, uint64_t now_us)
{
	if (now_us > p->since_us + PACE_SPAN_US) {
		p->since_us = now_us;
		p->begin = p->last;
		p->rest_us = 0;
	}
	if (all->frames - p->begin.frames <= PACE_MANY)
		return 0;
	if (pace_is_tiny(&p->begin, all))
		p->rest_us = MIN(MAX(2 * p->rest_us, PACE_REST_US), PACE_REST_US_MAX);
	else
		p->rest_us = 0;
	p->begin = *all;
	p->since_us = now_us + p->rest_us;
	return p->rest_us;
}

/** pace_heard() - what is new in @all was read at once, and worked off. Return: pace_rest(). */
static inline uint32_t pace_heard(struct pace *p, const struct pace_heard *all, uint64_t now_us)
{
	uint64_t n = all->bytes - p->last.bytes, few = all->frames - p->last.frames;
	uint32_t rest_us = pace_rest(p, all, now_us);

	p->last = *all;
	if (few > PACE_MANY)
		p->room = PACE_READ_MIN;
	else if (few <= PACE_FEW && n >= MAX(p->room, (size_t)PACE_READ_MIN))
		p->room = 2 * n;
	return rest_us;
}

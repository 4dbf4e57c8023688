/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pace - how much is read from a connection at once. All that is read is worked off in the same
 * turn of the loop, and what that takes is the number of frames more than that of bytes: where
 * frames are small a turn reads little, so that a flood of them is no other connection's delay.
 * After many that have hardly a byte each the connection rests for a moment, twice as long each
 * time while nothing else comes: who has as many writes to tell of fills its frames meanwhile, and
 * who floods waits, without having a processor of ours for itself. Small messages that wait for
 * answers never make a rest: so many frames are more than four of each stream that a connection may
 * have. */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* One record at most is completed by it. */
#define PACE_READ_MIN (16 * 1024)
/* Frames in a read after which the next one is small, or up to which it may be larger. */
#define PACE_MANY 1024
#define PACE_FEW  256
/* Bytes of a frame, its head among them, below which it has hardly any. */
#define PACE_TINY 16
/* The rest after the first read of such frames, and the longest. */
#define PACE_REST_US     1000U
#define PACE_REST_US_MAX 8000U

/** struct pace - of one connection; zeroed before first use. */
struct pace {
	size_t room;
	uint64_t frames;  /* of the connection, at the last read */
	uint32_t rest_us; /* before the next one; 0: that had other than tiny frames, or few */
};

/** pace_room() - bytes that may be read now, at most @max. */
static inline size_t pace_room(const struct pace *p, size_t max)
{
	return MIN(MAX(p->room, (size_t)PACE_READ_MIN), max);
}

/** pace_heard() - @n bytes were read and worked off; @frames: of the connection so far. */
static inline void pace_heard(struct pace *p, size_t n, uint64_t frames)
{
	uint64_t few = frames - p->frames;

	p->frames = frames;
	if (few > PACE_MANY && n < few * PACE_TINY)
		p->rest_us = MIN(MAX(2 * p->rest_us, PACE_REST_US), PACE_REST_US_MAX);
	else
		p->rest_us = 0;
	if (few > PACE_MANY)
		p->room = PACE_READ_MIN;
	else if (few <= PACE_FEW && n >= MAX(p->room, (size_t)PACE_READ_MIN))
		p->room = 2 * n;
}

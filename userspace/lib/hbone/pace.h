/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pace - how much is read from a connection at once. All that is read is worked off in the same
 * turn of the loop, and what that takes is the number of frames more than that of bytes: where
 * frames are small a turn reads little, so that a flood of them is no other connection's delay.
 * After many that have hardly a byte each the connection rests for a moment: who has as many writes
 * to tell of fills its frames meanwhile, and who floods waits, without having a processor of ours
 * for itself. */
#include <stdbool.h>
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

/** struct pace - of one connection; zeroed before first use. */
struct pace {
	size_t room;
	uint64_t frames; /* of the connection, at the last read */
	bool is_tiny;    /* that had many frames with hardly a byte each */
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
	p->is_tiny = few > PACE_MANY && n < few * PACE_TINY;
	if (few > PACE_MANY)
		p->room = PACE_READ_MIN;
	else if (few <= PACE_FEW && n >= MAX(p->room, (size_t)PACE_READ_MIN))
		p->room = 2 * n;
}

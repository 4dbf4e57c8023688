/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* frames - where the frames of an HTTP/2 connection end (RFC 9113, section 4.1), so that what has
 * come of it can be worked off in parts of whole ones. Wrong where the peer breaks the protocol,
 * which costs nothing but that a part then ends within a frame. */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* Bytes of a client's preface, before its first frame (section 3.4). */
#define FRAMES_PREFACE 24

/** struct frames - of one direction; zeroed at its first byte, but for @left. */
struct frames {
	uint32_t left; /* bytes before the next head; at first those of the preface */
	uint32_t length;
	uint32_t head; /* bytes of the length seen */
};

/** frames_part() - how much of the @n bytes at @p, which come next, makes up whole frames of @want
 * bytes at least; @n when there are no more. They are gone through. */
static inline size_t frames_part(struct frames *f, const uint8_t *p, size_t n, size_t want)
{
	size_t at = 0;

	while (at < n && (at < want || f->left > 0 || f->head > 0)) {
		if (f->left > 0) {
			size_t k = MIN(n - at, (size_t)f->left);

			f->left -= (uint32_t)k;
			at += k;
			continue;
		}
		f->length = f->length << 8 | p[at++];
		if (++f->head < 3)
			continue;
		f->left = f->length + 6; /* type, flags, stream */
		f->length = f->head = 0;
	}
	return at;
}

/** frames_count() - of the @n bytes at @p, which come next: those that begin or go on in them. */
static inline size_t frames_count(struct frames f, const uint8_t *p, size_t n)
{
	size_t count = 0;

	for (size_t at = 0; at < n; count++)
		at += frames_part(&f, p + at, n - at, 1);
	return count;
}

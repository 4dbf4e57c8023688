/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* arena - memory for one message while it is built: zeroed, freed all at once. Owner: a function's
 * frame. */
#include <stddef.h>

#include "base/macros.h"

struct arena_block;

struct arena {
	struct arena_block *blocks;
	int error; /* -ENOMEM once anything failed: what was built is not to be used */
};

/** arena_alloc() - @n zeroed bytes. Return: NULL on lack of memory, noted in @a. */
void *arena_alloc(struct arena *a, size_t n);
/** arena_format() - as asprintf. Return: as arena_alloc(). */
char *arena_format(struct arena *a, const char *fmt, ...) _printf_(2, 3);
/** arena_reset() - free everything. */
void arena_reset(struct arena *a);
static inline void arena_resetp(struct arena *a)
{
	arena_reset(a);
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* scratch - memory for one message while it is built: zeroed, freed all at once. Owner: a
 * function's frame. */
#include <stddef.h>

#include "base/macros.h"

struct scratch_block;

struct scratch {
	struct scratch_block *blocks;
	int error; /* -ENOMEM once anything failed: what was built is not to be used */
};

/** scratch_alloc() - @n zeroed bytes. Return: NULL on lack of memory, noted in @a. */
void *scratch_alloc(struct scratch *a, size_t n);
/** scratch_format() - as asprintf. Return: as scratch_alloc(). */
char *scratch_format(struct scratch *a, const char *fmt, ...) _printf_(2, 3);
/** scratch_concat() - the texts one after the other; cheaper than a format. Return: as
 * scratch_alloc(). */
#define scratch_concat(a, ...) scratch_concat_list((a), (const char *const[]){__VA_ARGS__, NULL})
char *scratch_concat_list(struct scratch *a, const char *const *texts);
/** scratch_reset() - free everything. */
void scratch_reset(struct scratch *a);
static inline void scratch_resetp(struct scratch *a)
{
	scratch_reset(a);
}

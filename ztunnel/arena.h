/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* arena - memory that is given back all at once: one per immutable object. Owner: the object. One
 * thread until the object is published. */
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct arena; /* opaque */

/* A first size for what is not known beforehand. */
#define ARENA_CHUNK 1000

/** arena_new() - @size: what will probably be needed; more is taken in pieces. Return: 0; -ENOMEM.
 */
_must_check_ int arena_new(size_t size, struct arena **ret);
/** arena_free() - everything at once. Takes NULL. Return: NULL. */
struct arena *arena_free(struct arena *a);
DEFINE_CLEANUP(struct arena *, arena_free);

/** arena_of() - that of the first thing that was taken from it, where it had room for that. */
struct arena *arena_of(const void *first);

/** arena_alloc() - @n * @size zeroed bytes, aligned for any type. Return: NULL when out of memory
 * or on overflow. */
void *arena_alloc(struct arena *a, size_t n, size_t size);
/** arena_text_size() - what a copy of @s will take. */
static inline size_t arena_text_size(const char *s)
{
	return s && *s ? strlen(s) + 1 : 0;
}

/** arena_str() - a copy of @s; NULL counts as "". Return: NULL when out of memory. */
const char *arena_str(struct arena *a, const char *s);
/** arena_printf() - formatted text. Return: NULL when out of memory. */
const char *arena_printf(struct arena *a, const char *fmt, ...) _printf_(2, 3);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* scarce-memory - memory that ends at whichever allocation a test likes. Linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc; included by one file of a program. */
#include <stdbool.h>
#include <stdlib.h>

static struct {
	long left; /* allocations that succeed; -1: all do */
	bool has_failed;
} the_memory = {.left = -1};

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool memory_is_over(void)
{
	if (the_memory.left < 0)
		return false;
	if (the_memory.left > 0) {
		the_memory.left--;
		return false;
	}
	the_memory.has_failed = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return memory_is_over() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return memory_is_over() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return memory_is_over() ? NULL : __real_realloc(p, size);
}

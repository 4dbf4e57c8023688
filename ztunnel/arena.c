/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ARENA_ALIGN 8

struct chunk {
	struct chunk *next;
	uint32_t used;
	uint32_t size;
	_Alignas(ARENA_ALIGN) uint8_t bytes[];
};

/* The first chunk is part of it, so that an object of known size is one allocation. Of those after
 * it the first is being filled. Nothing else, as most arenas are small. */
struct arena {
	struct chunk first;
};

int arena_new(size_t size, struct arena **ret)
{
	struct arena *a;

	size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (size > UINT32_MAX)
		return -ENOMEM;
	a = calloc(1, sizeof(*a) + size);
	if (!a)
		return -ENOMEM;
	a->first.size = (uint32_t)size;
	*ret = a;
	return 0;
}

struct arena *arena_free(struct arena *a)
{
	if (!a)
		return NULL;
	for (struct chunk *c = a->first.next, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(a);
	return NULL;
}

struct arena *arena_of(const void *first)
{
	return container_of((const uint8_t(*)[])first, struct arena, first.bytes);
}

static struct chunk *chunk_new(struct arena *a, size_t size)
{
	struct chunk *c = size > UINT32_MAX ? NULL : calloc(1, sizeof(*c) + size);

	if (!c)
		return NULL;
	c->size = (uint32_t)size;
	c->next = a->first.next;
	a->first.next = c;
	return c;
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
	struct chunk *c = a->first.next ? a->first.next : &a->first;
	size_t want;
	void *p;

	if (__builtin_mul_overflow(n, size, &want) || want > UINT32_MAX / 2)
		return NULL;
	want = (want + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (c->size - c->used < want)
		c = chunk_new(a, MAX(want, (size_t)ARENA_CHUNK));
	if (!c)
		return NULL;
	p = c->bytes + c->used;
	c->used += (uint32_t)want;
	return p;
}

/* Texts lie one after the other, unaligned. */
static char *text_alloc(struct arena *a, size_t len)
{
	struct chunk *c = a->first.next ? a->first.next : &a->first;
	char *p;

	if (c->size - c->used < len)
		return arena_alloc(a, len, 1);
	p = (char *)c->bytes + c->size - len;
	c->size -= (uint32_t)len;
	return p;
}

const char *arena_str(struct arena *a, const char *s)
{
	size_t len = s ? strlen(s) : 0;
	char *p;

	if (len == 0)
		return "";
	p = text_alloc(a, len + 1);
	if (p)
		memcpy(p, s, len + 1);
	return p;
}

const char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p = NULL;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len >= 0)
		p = text_alloc(a, (size_t)len + 1);
	if (!p)
		return NULL;
	va_start(ap, fmt);
	(void)vsnprintf(p, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return p;
}

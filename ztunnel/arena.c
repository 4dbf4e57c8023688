/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ARENA_CHUNK 1000
#define ARENA_ALIGN 8

struct chunk {
	struct chunk *next;
	size_t used;
	size_t size;
	_Alignas(ARENA_ALIGN) uint8_t bytes[];
};

struct arena {
	struct chunk *chunks; /* the first one is being filled */
};

int arena_new(struct arena **ret)
{
	struct arena *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	*ret = a;
	return 0;
}

struct arena *arena_free(struct arena *a)
{
	if (!a)
		return NULL;
	for (struct chunk *c = a->chunks, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(a);
	return NULL;
}

static struct chunk *chunk_new(struct arena *a, size_t size)
{
	struct chunk *c = calloc(1, sizeof(*c) + size);

	if (!c)
		return NULL;
	c->size = size;
	c->next = a->chunks;
	a->chunks = c;
	return c;
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
	struct chunk *c = a->chunks;
	size_t want;
	void *p;

	if (__builtin_mul_overflow(n, size, &want) || want > SIZE_MAX / 2)
		return NULL;
	want = (want + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (!c || c->size - c->used < want)
		c = chunk_new(a, MAX(want, (size_t)ARENA_CHUNK));
	if (!c)
		return NULL;
	p = c->bytes + c->used;
	c->used += want;
	return p;
}

const char *arena_str(struct arena *a, const char *s)
{
	size_t len = s ? strlen(s) : 0;
	char *p;

	if (len == 0)
		return "";
	p = arena_alloc(a, len + 1, 1);
	if (p)
		memcpy(p, s, len);
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
		p = arena_alloc(a, (size_t)len + 1, 1);
	if (!p)
		return NULL;
	va_start(ap, fmt);
	(void)vsnprintf(p, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return p;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "model/scratch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/str.h"

/* With its head small enough for malloc()'s quickest lists: a message takes a few, over and over.
 */
#define BLOCK_SIZE 1000

struct scratch_block {
	struct scratch_block *next;
	size_t used, size;
	_Alignas(max_align_t) unsigned char bytes[];
};

static struct scratch_block *block_new(struct scratch *a, size_t size)
{
	struct scratch_block *b = malloc(sizeof(*b) + size);

	if (!b) {
		a->error = -ENOMEM;
		return NULL;
	}
	b->size = size;
	b->used = 0;
	b->next = a->blocks;
	a->blocks = b;
	return b;
}

void *scratch_alloc(struct scratch *a, size_t n)
{
	const size_t align = _Alignof(max_align_t);
	const size_t want = (n + align - 1) & ~(align - 1);
	struct scratch_block *b = a->blocks;
	void *p;

	if (!b || b->size - b->used < want)
		b = block_new(a, MAX(want, (size_t)BLOCK_SIZE));
	if (!b)
		return NULL;
	p = b->bytes + b->used;
	b->used += want;
	return memset(p, 0, n);
}

char *scratch_format(struct scratch *a, const char *fmt, ...)
{
	va_list ap, again;
	char *s = NULL;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0)
		s = scratch_alloc(a, (size_t)n + 1);
	if (s)
		(void)vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return s;
}

char *scratch_concat_list(struct scratch *a, const char *const *texts)
{
	size_t size = 1;
	char *s;

	for (size_t i = 0; texts[i]; i++)
		size += strlen(texts[i]);
	s = scratch_alloc(a, size);
	if (s)
		(void)str_concat_list(s, size, texts);
	return s;
}

void scratch_reset(struct scratch *a)
{
	while (a->blocks) {
		struct scratch_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
	a->error = 0;
}

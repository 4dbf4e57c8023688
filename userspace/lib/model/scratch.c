/* SPDX-License-Identifier: Apache-2.0 */
#include "model/scratch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct scratch_block {
	struct scratch_block *next;
	_Alignas(max_align_t) unsigned char bytes[];
};

void *scratch_alloc(struct scratch *a, size_t n)
{
	struct scratch_block *b = calloc(1, sizeof(*b) + n);

	if (!b) {
		a->error = -ENOMEM;
		return NULL;
	}
	b->next = a->blocks;
	a->blocks = b;
	return b->bytes;
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

void scratch_reset(struct scratch *a)
{
	while (a->blocks) {
		struct scratch_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
	a->error = 0;
}

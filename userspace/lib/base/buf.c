/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_MIN 256

/* buf_slide() - move the unread bytes to the front, so that consumed room is used again. */
static void buf_slide(struct buf *b)
{
	size_t len = buf_len(b);

	if (b->start == 0)
		return;
	if (len > 0)
		memmove(b->data, b->data + b->start, len);
	b->start = 0;
	b->end = len;
}

int buf_reserve(struct buf *b, size_t n)
{
	size_t len = buf_len(b);
	size_t cap;
	uint8_t *p;

	if (n > SIZE_MAX / 4 - len)
		return -ENOMEM;
	if (b->limit > 0 && len + n > b->limit)
		return -ENOBUFS;
	if (b->cap - b->end >= n)
		return 0;
	buf_slide(b);
	if (b->cap - b->end >= n)
		return 0;
	cap = MAX(b->cap, (size_t)BUF_MIN);
	while (cap < len + n)
		cap *= 2;
	p = realloc(b->data, cap);
	if (!p)
		return -ENOMEM;
	b->data = p;
	b->cap = cap;
	return 0;
}

void buf_consume(struct buf *b, size_t n)
{
	b->start += MIN(n, buf_len(b));
	if (b->start == b->end) {
		b->start = 0;
		b->end = 0;
	}
}

int buf_append(struct buf *b, const void *p, size_t n)
{
	int r;

	if (n == 0)
		return 0;
	r = buf_reserve(b, n);
	if (r < 0)
		return r;
	memcpy(buf_tail(b), p, n);
	buf_produce(b, n);
	return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n, r;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return -EINVAL;
	if (b->limit > 0 && buf_len(b) + (size_t)n > b->limit)
		return -ENOBUFS;
	/* vsnprintf() wants room for a NUL that isn't counted against the limit. */
	size_t limit = b->limit;
	b->limit = 0;
	r = buf_reserve(b, (size_t)n + 1);
	b->limit = limit;
	if (r < 0)
		return r;
	(void)vsnprintf((char *)buf_tail(b), (size_t)n + 1, fmt, ap);
	buf_produce(b, (size_t)n);
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}

void buf_reset(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->start = 0;
	b->end = 0;
	b->cap = 0;
}

void buf_wipe(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_reset(b);
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* buf - growable byte buffer with a read cursor. One owner. Growth doubles; memory goes back with
 * buf_reset(). */
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>

#include "cleanup.h"
#include "macros.h"

struct buf {
	uint8_t *data;
	size_t start; /* first unread byte */
	size_t end;   /* one past the last byte */
	size_t cap;
	size_t limit; /* growth past this many bytes fails with -ENOBUFS; 0: no limit */
};

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline uint8_t *buf_head(const struct buf *b)
{
	return b->data + b->start;
}

/** buf_reserve() - room for @n more bytes at the end; may move data. Return: 0; -ENOMEM; -ENOBUFS
 * over the limit. */
_must_check_ int buf_reserve(struct buf *b, size_t n);
/** buf_tail() - where the next byte goes; valid after buf_reserve(). buf_produce() then counts
 * them. */
static inline uint8_t *buf_tail(struct buf *b)
{
	return b->data + b->end;
}
static inline void buf_produce(struct buf *b, size_t n)
{
	b->end += n;
}
/** buf_consume() - drop @n (<= buf_len()) bytes from the front. */
void buf_consume(struct buf *b, size_t n);
_must_check_ int buf_append(struct buf *b, const void *p, size_t n);
_must_check_ int buf_append_str(struct buf *b, const char *s);
/** buf_printf() - append formatted text; not NUL-terminated. Return: 0; -ENOMEM; -ENOBUFS. */
int buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) _printf_(2, 0);
/** buf_reset() - free the memory, back to empty; the limit stays. */
void buf_reset(struct buf *b);
/** buf_wipe() - as buf_reset(), the bytes overwritten first: for keys. */
void buf_wipe(struct buf *b);
static inline void buf_resetp(struct buf *b)
{
	buf_reset(b);
}

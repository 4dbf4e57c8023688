/* SPDX-License-Identifier: Apache-2.0 */
/* allocate - malloc() of the whole process, its libraries included, which falls back on the
 * thread's reserve: inside nghttp2 or OpenSSL a single failure would end a tunnel and all
 * connections in it. The C library lets a program define these, and has its own under the names
 * below; whatever is not defined here, free() above all, remains its own. A sanitised build has its
 * sanitizer's. */
#include <stdlib.h>

#include "base/reserve.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
	__has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED

/* NOLINTBEGIN(bugprone-reserved-identifier) */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
/* NOLINTEND(bugprone-reserved-identifier) */

void *malloc(size_t size)
{
	void *p = __libc_malloc(size);

	while (!p && reserve_give(size))
		p = __libc_malloc(size);
	return p;
}

void *calloc(size_t n, size_t size)
{
	void *p = __libc_calloc(n, size);
	size_t total;

	while (!p && !__builtin_mul_overflow(n, size, &total) && reserve_give(total))
		p = __libc_calloc(n, size);
	return p;
}

void *realloc(void *old, size_t size)
{
	void *p = __libc_realloc(old, size);

	/* nothing of no size is no failure: @old is freed */
	while (!p && size > 0 && reserve_give(size))
		p = __libc_realloc(old, size);
	return p;
}

#endif

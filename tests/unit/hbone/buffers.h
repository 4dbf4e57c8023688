/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* buffers - how many buffers for a record OpenSSL has, by their size. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/crypto.h>

static int buffers_nr;

static inline int is_buffer(void *p)
{
	size_t n = malloc_usable_size(p);

	return n > 16384 && n < 18000;
}

static inline void *buffers_malloc(size_t n, const char *file, int line)
{
	void *p = malloc(n);

	buffers_nr += is_buffer(p);
	return p;
}

static inline void *buffers_realloc(void *p, size_t n, const char *file, int line)
{
	int was = is_buffer(p);
	void *q = realloc(p, n);

	if (q || n == 0)
		buffers_nr += is_buffer(q) - was;
	return q;
}

static inline void buffers_free(void *p, const char *file, int line)
{
	buffers_nr -= is_buffer(p);
	free(p);
}

/* buffers_count() - from now on; before any other call into OpenSSL. */
static inline void buffers_count(void)
{
	assert_int_equal(CRYPTO_set_mem_functions(buffers_malloc, buffers_realloc, buffers_free),
			 1);
}

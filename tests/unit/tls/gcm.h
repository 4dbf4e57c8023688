/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* gcm - what the tests of gcm.c and of gcm_cipher.c share: what becomes of the memory of ciphers,
 * and random bytes that are the same each time. */
#include <stdint.h>
#include <stdlib.h>

/* Nobody else here asks for aligned memory: these are the provider's contexts. */
static struct {
	void *last;
	size_t size;
	unsigned int made;
	unsigned int wiped, left; /* freed with nothing in it, or not so */
} contexts;

void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void __real_free(void *p);
void __wrap_free(void *p);

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	contexts.last = __real_aligned_alloc(align, size);
	contexts.size = size;
	contexts.made++;
	return contexts.last;
}

void __wrap_free(void *p)
{
	if (p && p == contexts.last) {
		const uint8_t *bytes = p;
		size_t n = 0;

		for (size_t i = 0; i < contexts.size; i++)
			n += bytes[i] != 0;
		contexts.wiped += n == 0;
		contexts.left += n != 0;
		contexts.last = NULL;
	}
	__real_free(p);
}

static uint64_t rand_state = 0x9e3779b97f4a7c15ULL;

static inline uint32_t rand32(void)
{
	rand_state ^= rand_state << 13;
	rand_state ^= rand_state >> 7;
	rand_state ^= rand_state << 17;
	return (uint32_t)(rand_state >> 32);
}

static inline void rand_fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)rand32();
}

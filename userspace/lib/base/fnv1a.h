/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fnv1a - a hash of 64 bits that is the same in every process, on every node and in every release.
 * Nothing in it is secret: not for tables that strangers fill. No state. */
#include <stddef.h>
#include <stdint.h>

#define FNV1A_START 0xcbf29ce484222325ULL

/** fnv1a() - go on with @h, or begin with FNV1A_START. */
static inline uint64_t fnv1a(uint64_t h, const void *data, size_t n)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

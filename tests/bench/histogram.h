/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* histogram - log-linear latency histogram: 64 steps per power of two, so a value is within 1.6 %.
 */
#include <stdint.h>

#define HISTOGRAM_STEPS 64
#define HISTOGRAM_SIZE  (HISTOGRAM_STEPS * 40)

struct histogram {
	uint64_t count;
	uint32_t bucket[HISTOGRAM_SIZE];
};

static inline unsigned int histogram_index(uint64_t ns)
{
	unsigned int shift;

	if (ns < HISTOGRAM_STEPS)
		return (unsigned int)ns;
	shift = 63 - 6 - (unsigned int)__builtin_clzll(ns);
	return (shift + 1) * HISTOGRAM_STEPS + (unsigned int)((ns >> shift) - HISTOGRAM_STEPS);
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	unsigned int i = histogram_index(ns);

	h->bucket[i < HISTOGRAM_SIZE ? i : HISTOGRAM_SIZE - 1]++;
	h->count++;
}

static inline void histogram_merge(struct histogram *to, const struct histogram *from)
{
	for (unsigned int i = 0; i < HISTOGRAM_SIZE; i++)
		to->bucket[i] += from->bucket[i];
	to->count += from->count;
}

/** histogram_at() - the value in ns below which @share (0..1) of all values lie; 0 when empty. */
static inline double histogram_at(const struct histogram *h, double share)
{
	uint64_t want = (uint64_t)((double)h->count * share), seen = 0;

	for (unsigned int i = 0; i < HISTOGRAM_SIZE; i++) {
		seen += h->bucket[i];
		if (seen > want && i < HISTOGRAM_STEPS)
			return i;
		if (seen > want)
			return (double)((uint64_t)(HISTOGRAM_STEPS + i % HISTOGRAM_STEPS)
					<< (i / HISTOGRAM_STEPS - 1));
	}
	return 0;
}

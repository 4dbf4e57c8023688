/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SLOTS (SLOTS_WORDS * 64)

static void *slots_ref_value(void *s)
{
	return slots_ref(s);
}

static void slots_unref_value(void *s)
{
	slots_unref(s);
}

const struct hamt_ops slots_hamt_ops = {.ref = slots_ref_value, .unref = slots_unref_value};

struct slots *slots_ref(struct slots *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct slots *slots_unref(struct slots *s)
{
	if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
		free(s);
	return NULL;
}

static bool block_is_empty(const struct slots_block *b)
{
	uint64_t any = 0;

	for (size_t i = 0; i < SLOTS_WORDS; i++)
		any |= b->bits[i];
	return any == 0;
}

/* The first block that is not before @at. */
static uint32_t block_find(const struct slots *s, uint32_t at)
{
	uint32_t low = 0, high = s ? s->blocks_count : 0;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (s->blocks[mid].at < at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void blocks_copy(struct slots *into, const struct slots *from, uint32_t first, uint32_t end)
{
	if (first == end)
		return;
	memcpy(&into->blocks[into->blocks_count], &from->blocks[first],
	       (end - first) * sizeof(from->blocks[0]));
	into->blocks_count += end - first;
}

int slots_change(const struct slots *old, uint32_t slot, bool is_in, struct slots **ret)
{
	struct slots_block b = {.at = slot / BLOCK_SLOTS};
	uint64_t *word = &b.bits[slot % BLOCK_SLOTS / 64], bit = 1ULL << slot % 64;
	uint32_t n = old ? old->blocks_count : 0, at = block_find(old, b.at);
	bool has_block = at < n && old->blocks[at].at == b.at, was_in;
	struct slots *s = malloc(sizeof(*s) + (n + 1) * sizeof(s->blocks[0]));

	if (!s)
		return -ENOMEM;
	if (has_block)
		b = old->blocks[at];
	was_in = *word & bit;
	*word = is_in ? *word | bit : *word & ~bit;
	atomic_init(&s->refs, 1);
	s->count = (old ? old->count : 0) + is_in - was_in;
	s->blocks_count = 0;
	blocks_copy(s, old, 0, at);
	if (!block_is_empty(&b))
		s->blocks[s->blocks_count++] = b;
	blocks_copy(s, old, at + has_block, n);
	*ret = s->blocks_count ? s : slots_unref(s);
	return 0;
}

uint32_t slots_first_free(const struct slots *s)
{
	uint32_t n = s ? s->blocks_count : 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct slots_block *b = &s->blocks[i];

		if (b->at != i)
			return i * BLOCK_SLOTS;
		for (uint32_t w = 0; w < SLOTS_WORDS; w++)
			if (~b->bits[w])
				return i * BLOCK_SLOTS + w * 64 +
				       (uint32_t)__builtin_ctzll(~b->bits[w]);
	}
	return n * BLOCK_SLOTS;
}

/* Return: false: there is none. */
static bool walk_block(struct slots_walk *w)
{
	const struct slots_block *b = &w->of->blocks[w->block];

	if (w->block == w->of->blocks_count)
		return false;
	w->block++;
	w->first = b->at * BLOCK_SLOTS;
	memcpy(w->left, b->bits, sizeof(w->left));
	for (size_t i = 0; i < w->but_count; i++) {
		const struct slots *but = w->but[i];

		while (w->at[i] < but->blocks_count && but->blocks[w->at[i]].at < b->at)
			w->at[i]++;
		if (w->at[i] == but->blocks_count || but->blocks[w->at[i]].at != b->at)
			continue;
		for (size_t k = 0; k < SLOTS_WORDS; k++)
			w->left[k] &= ~but->blocks[w->at[i]].bits[k];
	}
	return true;
}

bool slots_next(struct slots_walk *w, uint32_t *ret)
{
	do {
		for (uint32_t k = 0; k < SLOTS_WORDS; k++) {
			uint64_t bits = w->left[k];

			if (!bits)
				continue;
			w->left[k] = bits & (bits - 1);
			*ret = w->first + k * 64 + (uint32_t)__builtin_ctzll(bits);
			return true;
		}
	} while (walk_block(w));
	return false;
}

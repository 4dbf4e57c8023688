/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* slots - an immutable, counted set of small numbers; a change makes a new set. Sets of numbers
 * that are near each other are bits beside each other, so that what is in one and in none of some
 * others is found many numbers at a time. Any thread. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/hamt.h"
#include "base/macros.h"

#define SLOTS_WORDS   8u
#define SLOTS_BUT_MAX 32

struct slots_block {
	uint32_t at; /* number * SLOTS_WORDS * 64 is its first */
	uint64_t bits[SLOTS_WORDS];
};

struct slots {
	atomic_uint refs;
	uint32_t count;        /* numbers in it */
	uint32_t blocks_count; /* of those with a number in them, in order */
	struct slots_block blocks[];
};

struct slots *slots_ref(struct slots *s);
/** slots_unref() - takes NULL. Return: NULL. */
struct slots *slots_unref(struct slots *s);
DEFINE_CLEANUP(struct slots *, slots_unref);

/** slots_hamt_ops - for a trie whose values are such sets. */
extern const struct hamt_ops slots_hamt_ops;

/** slots_change() - a copy of @old (NULL: empty) in which @slot is, or is not. Return: 0, *@ret
 * NULL when nothing is left; -ENOMEM. */
_must_check_ int slots_change(const struct slots *old, uint32_t slot, bool is_in,
			      struct slots **ret);

/** slots_first_free() - the least number that is not in it. @s may be NULL. */
uint32_t slots_first_free(const struct slots *s);

/** struct slots_walk - over what is in @of and in none of @but. Start with these three set and
 * nothing else. */
struct slots_walk {
	const struct slots *of;
	const struct slots *const *but;
	size_t but_count;           /* at most SLOTS_BUT_MAX */
	uint32_t at[SLOTS_BUT_MAX]; /* the block of each of @but */
	uint32_t block;             /* of @of: the next */
	uint32_t first;             /* number of the block at hand */
	uint64_t left[SLOTS_WORDS]; /* of it */
};

/** slots_next() - Return: false: that was all. */
bool slots_next(struct slots_walk *w, uint32_t *ret);

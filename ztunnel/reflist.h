/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* reflist - immutable list of counted objects, itself counted; a change makes a new list. Any
 * thread. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hamt.h"
#include "base/macros.h"

struct reflist {
	atomic_uint refs;
	const struct hamt_ops *ops; /* of the items */
	size_t count;
	void *items[];
};

struct reflist *reflist_ref(struct reflist *l);
/** reflist_unref() - takes NULL. Return: NULL. */
struct reflist *reflist_unref(struct reflist *l);
DEFINE_CLEANUP(struct reflist *, reflist_unref);

/** reflist_compare - order of a list: < 0 when the first argument comes first. */
typedef int (*reflist_compare)(const void *a, const void *b);

/** reflist_hamt_ops - for a trie whose values are lists. */
extern const struct hamt_ops reflist_hamt_ops;

/** struct reflist_edit - what is to differ. */
struct reflist_edit {
	const struct hamt_ops *ops; /* of the items */
	const void *gone;           /* NULL: nothing */
	void *added;                /* NULL: nothing; counted */
	reflist_compare compare;    /* equal ones keep their order of coming */
};

/** reflist_change() - a copy of @old (NULL: empty) with @edit made, the added item at its place.
 * Return: 0; -ENOMEM. *@ret is NULL when nothing is left. */
_must_check_ int reflist_change(const struct reflist *old, const struct reflist_edit *edit,
				struct reflist **ret);

/** several_of() - in a trie where nearly every value is one object, a list each would be waste: a
 * value is the object itself, or, told by the lowest bit of the pointer, a list of several. Return:
 * that list; NULL: it is one object, or NULL itself. */
static inline struct reflist *several_of(const void *value)
{
	return (uintptr_t)value & 1 ? (struct reflist *)((uintptr_t)value - 1) : NULL;
}

static inline void *several_value(struct reflist *l)
{
	return (void *)((uintptr_t)l + 1);
}

/** several_at() - number @i of them. Return: NULL: there are no more. */
static inline void *several_at(const void *value, size_t i)
{
	const struct reflist *l = several_of(value);

	if (l)
		return i < l->count ? l->items[i] : NULL;
	return i == 0 ? (void *)(uintptr_t)value : NULL;
}

/** several_change() - have @edit made to what is at @key of @table, whose values are one or
 * several. Return: 0; -ENOMEM. */
_must_check_ int several_change(struct hamt *table, const void *key, size_t key_len,
				const struct reflist_edit *edit);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* reflist - immutable list of counted objects, itself counted; a change makes a new list. Any
 * thread. */
#include <stdatomic.h>
#include <stddef.h>

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

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

/** reflist_compare - order of a list. */
typedef int (*reflist_compare)(const void *a, const void *b);

/** reflist_hamt_ops - for a trie whose values are lists. */
extern const struct hamt_ops reflist_hamt_ops;

/**
 * reflist_change() - a copy of @old (NULL: empty) without @gone and with @added at its place by
 * @compare
 * @gone, @added: NULL for none; @added is counted.
 * @compare: < 0 when its first argument comes first; equal ones keep their order of coming.
 * Return: 0; -ENOMEM. *@ret is NULL when nothing is left.
 */
_must_check_ int reflist_change(const struct reflist *old, const struct hamt_ops *ops,
				const void *gone, void *added, reflist_compare compare,
				struct reflist **ret);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* index - from a text to the things filed under it, so that a change finds what it touches. Owner:
 * its creator. */
#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "base/map.h"

struct index {
	struct map *buckets;
};

/** struct index_bucket - all that is filed under one key. Gone with its last link. */
struct index_bucket {
	struct list links;
	size_t count;
	const char *key; /* the map's */
};

/** struct index_link - one filing of one owner. Zero it before first use. */
struct index_link {
	struct list link;
	void *owner; /* borrowed */
	struct index_bucket *bucket;
};

/** index_init() - Return: 0; -ENOMEM. index_done() frees; the links must be out or forgotten. */
_must_check_ int index_init(struct index *ix);
void index_done(struct index *ix);

/** index_add() - file @owner under @key by @l. Return: 0; -ENOMEM. */
_must_check_ int index_add(struct index *ix, const char *key, void *owner, struct index_link *l);
/** index_del() - take it out; harmless when it is not in. */
void index_del(struct index *ix, struct index_link *l);
/** index_find() - Return: borrowed; NULL when nothing is filed under @key. */
struct index_bucket *index_find(const struct index *ix, const char *key);
/** index_count() - how much is filed under @key. */
size_t index_count(const struct index *ix, const char *key);

/** index_for_each() - over the links of a bucket, which may be NULL; nothing may be added or taken
 * out. */
#define index_for_each(l, b)                                                                       \
	if (b)                                                                                     \
		list_for_each_entry (l, &(b)->links, link)

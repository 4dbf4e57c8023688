/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* share - parts that many objects have in common, held once: a table from what a part says to the
 * part. Parts are immutable and counted, and may be given up from any thread; the table belongs to
 * one thread. A part that nobody else holds any more is swept out as the table grows. */
#include <stdatomic.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct arena;
struct buf;
struct share; /* opaque */

/** struct shared - the head of a part, which lies in the arena itself. */
struct shared {
	atomic_uint refs;
	struct arena *arena;
};

struct shared *shared_ref(struct shared *s);
/** shared_unref() - takes NULL. Return: NULL. Any thread: the last one frees. */
struct shared *shared_unref(struct shared *s);

_must_check_ int share_new(struct share **ret);
struct share *share_free(struct share *t);
DEFINE_CLEANUP(struct share *, share_free);
/** share_find() - @key: what the part says, unambiguously, after one byte of any value. Return:
 * borrowed; NULL when there is none. */
struct shared *share_find(const struct share *t, const struct buf *key);
/** share_add() - @s: counted. Return: 0; -ENOMEM. */
_must_check_ int share_add(struct share *t, const struct buf *key, struct shared *s);
/** share_count() - parts in the table; for tests. */
size_t share_count(const struct share *t);

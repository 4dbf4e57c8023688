/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* destmap - one map of mesh destinations, and what found no room in it. While something is missing
 * the map must not be trusted to know every destination: DESIGN 4, When in doubt, fail closed.
 * Owner: mesh. Thread: loop only. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/maps.h"

struct destmap; /* opaque */

/** struct destmap_ops - the map itself; @key has @key_len bytes. */
struct destmap_ops {
	size_t key_len;
	int (*write)(void *arg, const void *key, const struct cv_dest *dest);
	void (*erase)(void *arg, const void *key);
};

/** destmap_new() - nothing is missing. @ops: borrowed, must outlive it. Return: 0; -ENOMEM. */
_must_check_ int destmap_new(const struct destmap_ops *ops, void *arg, struct destmap **ret);
/** destmap_free() - the map itself stays as it is. Takes NULL. Return: NULL. */
struct destmap *destmap_free(struct destmap *m);
DEFINE_CLEANUP(struct destmap *, destmap_free);

/** destmap_put() - write an entry. Return: 0; -errno of the write: the entry is missing now, and
 * tried again when there is room. */
_must_check_ int destmap_put(struct destmap *m, const void *key, const struct cv_dest *dest);
/** destmap_del() - erase an entry, or stop missing it; the room goes to one that is missing. */
void destmap_del(struct destmap *m, const void *key);
/** destmap_retry() - write what is missing, as far as there is room. */
void destmap_retry(struct destmap *m);
/** destmap_is_complete() - is nothing missing? False for good once memory did not suffice to keep
 * track. */
bool destmap_is_complete(const struct destmap *m);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* resources - the resources of one type in the order of their last change, removed ones included
 * until everybody knows. Owner: xds/server. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#include "base/list.h"
#include "base/map.h"

#define RESOURCE_VERSION_SIZE 17

struct address_keys; /* xds/address_index.h */

struct resource_entry {
	struct list link;         /* by seq, ascending */
	struct list removed_link; /* the same order, removed ones only */
	uint64_t seq;             /* number of its last change, from 1 */
	const char *name;         /* the map's */
	uint8_t *packed;          /* NULL: removed */
	size_t len;
	struct address_keys *keys;           /* address_index's; NULL while it is not filed */
	char version[RESOURCE_VERSION_SIZE]; /* hash of the bytes: the same after a restart of the
					     control plane */
};

struct resources {
	EVP_MD *sha256;
	EVP_MD_CTX *digest; /* of one version after the other */
	struct map *by_name;
	struct list entries, removed;
	struct resource_entry *near; /* what resources_after() found last; NULL: nothing, or gone */
	uint64_t seq;                /* of the last change */
	size_t n_live;
};

/** resources_init() - @s may be anything; resources_clear() it also after a failure. Return: 0;
 * -ENOMEM. */
_must_check_ int resources_init(struct resources *s);
/** resources_clear() - free all that it holds, not @s. One that is zeroed is fine. */
void resources_clear(struct resources *s);
/** resources_set() - the bytes of a resource, copied; those that it has already change nothing.
 * Return: 0; -ENOMEM (it is as it was). */
_must_check_ int resources_set(struct resources *s, const char *name, const void *packed,
			       size_t len);
/** resources_remove() - the entry stays until resources_forget(). One that is unknown, or removed
 * already, is fine. */
void resources_remove(struct resources *s, const char *name);
/** resources_get() - Return: borrowed, removed ones too; NULL: unknown. */
struct resource_entry *resources_get(const struct resources *s, const char *name);
/** resources_after() - the first entry that changed after @seq: quick for what is new, and for who
 * goes through all of it in parts. Return: borrowed; NULL: none. */
struct resource_entry *resources_after(struct resources *s, uint64_t seq);
/** resources_next() - the one that changed after @e. Return: borrowed; NULL: @e is the last. */
struct resource_entry *resources_next(const struct resources *s, const struct resource_entry *e);
/** resources_has_removed() - is there any that resources_forget() may free? */
static inline bool resources_has_removed(const struct resources *s)
{
	return !list_is_empty(&s->removed);
}
/** resources_forget() - free removed entries up to and including @seq: everybody has been told. */
void resources_forget(struct resources *s, uint64_t seq);

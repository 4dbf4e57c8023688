/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* store - the resources of one type in the order of their last change, removed ones included until
 * everybody knows. Owner: xds/server. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"

#define STORE_VERSION_SIZE 17

struct store_entry {
	struct list link;         /* by seq, ascending */
	struct list removed_link; /* the same order, removed ones only */
	uint64_t seq;             /* number of its last change, from 1 */
	char *name;
	uint8_t *packed; /* NULL: removed */
	size_t len;
	char version[STORE_VERSION_SIZE]; /* hash of the bytes: the same after a restart of the
					     control plane */
};

struct store {
	struct map *by_name;
	struct list entries, removed;
	uint64_t seq; /* of the last change */
	size_t n_live;
};

_must_check_ int store_init(struct store *s);
void store_clear(struct store *s);
_must_check_ int store_set(struct store *s, const char *name, const void *packed, size_t len);
void store_remove(struct store *s, const char *name);
const struct store_entry *store_get(const struct store *s, const char *name);
/** store_after() - the first entry that changed after @seq; NULL when none. */
struct store_entry *store_after(const struct store *s, uint64_t seq);
struct store_entry *store_next(const struct store *s, const struct store_entry *e);
/** store_forget() - free removed entries up to and including @seq: everybody has been told. */
void store_forget(struct store *s, uint64_t seq);

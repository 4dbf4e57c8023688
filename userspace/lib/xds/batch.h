/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* batch - one delta response in the making, bounded. Strings and bytes of resources are the
 * store's: it must be sent before the store changes. Owner: xds/server. */
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "userspace/lib/xds/discovery.pb-c.h"
#include "xds/resources.h"
#include "xds/types.h"

#define BATCH_RESOURCES 1024
#define BATCH_BYTES     (2u * 1024 * 1024)

struct batch {
	Envoy__Service__Discovery__V3__Resource resources[BATCH_RESOURCES];
	Envoy__Service__Discovery__V3__Resource *resource_pointers[BATCH_RESOURCES];
	Google__Protobuf__Any bodies[BATCH_RESOURCES];
	size_t n_resources;
	char **removed; /* owned */
	size_t n_removed, removed_cap;
	size_t bytes;
};

/** batch_new() - empty. Large: to be kept. Return: NULL: no memory. batch_free() takes NULL. */
struct batch *batch_new(void);
void batch_free(struct batch *b);
/** batch_clear() - for the next one. */
void batch_clear(struct batch *b);

/** batch_is_full() - nothing more may be added; removals may a little. */
bool batch_is_full(const struct batch *b);
/** batch_add() - a resource that is there. */
void batch_add(struct batch *b, enum xds_type type, const struct resource_entry *e);
/** batch_add_aliases() - to the one that was added last: by what other names a client may have
 * asked for it. Return: 0; -ENOMEM. */
_must_check_ int batch_add_aliases(struct batch *b, const struct resource_entry *e);
/** batch_remove() - a name that is gone, or never was; copied. Return: 0; -ENOMEM. */
_must_check_ int batch_remove(struct batch *b, const char *name);

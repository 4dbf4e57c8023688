/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* address_index - which addresses (XDS_ADDRESS) answer to a name: a workload to its IPs, its node
 * and the services that it serves; a service to its IPs. Owner: xds/server, from when the first
 * client asks by name. One thread. */
#include <stdbool.h>

#include "base/index.h"
#include "xds/resources.h"

struct address_index {
	struct index names;
};

/** struct address_keys - what one resource is filed under; in its resource_entry. */
struct address_keys {
	bool is_service;
	size_t n;
	struct index_link links[]; /* the owner of each is the resource_entry */
};

#define ADDRESS_BY_IP      "i " /* "network/IP" or "network/IP/length" */
#define ADDRESS_BY_SERVICE "s " /* "namespace/hostname" of what the workload serves */
#define ADDRESS_BY_NODE    "n " /* the workload's node */

_must_check_ int address_index_init(struct address_index *ix);
/** address_index_clear() - of all that @store holds. */
void address_index_clear(struct address_index *ix, struct resources *store);
/** address_index_put() - file @e by what it says now; what cannot be read is not filed. Return: 0;
 * -ENOMEM: it is not filed. */
_must_check_ int address_index_put(struct address_index *ix, struct resource_entry *e);
/** address_index_del() - harmless when it is not filed. */
void address_index_del(struct address_index *ix, struct resource_entry *e);
/** address_index_find() - @by: ADDRESS_BY_X. Return: NULL when nobody answers to @name. */
struct index_bucket *address_index_find(const struct address_index *ix, const char *by,
					const char *name);
/** address_key_is() - Return: what is behind @by in the key of a link, else NULL. */
const char *address_key_is(const struct index_link *l, const char *by);

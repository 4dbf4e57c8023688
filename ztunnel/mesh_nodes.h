/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* mesh_nodes - the nodes of the cluster, what addresses their pods have, and the node ports of its
 * services: at an address of any node such a port is the service. For state_builder. Thread: the
 * main loop; a struct mesh_node: any. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/hamt.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"

struct mesh_nodes; /* opaque */
struct reflist_edit;
struct service_def;
struct xds_node; /* xds/node.h */

/** struct pod_range - a key, so without padding. */
struct pod_range {
	struct cv_addr addr; /* masked */
	uint32_t len;        /* as struct cidr's */
};

/** struct mesh_node - as a snapshot has it. Immutable, counted. */
struct mesh_node {
	atomic_uint refs;
	struct xds_node *is;
	char name[];
};
/* For a trie whose values are one of them or several: see several_of(). */
extern const struct hamt_ops mesh_nodes_hamt_ops;

/** mesh_nodes_new() - keep these tables current; borrowed.
 * @table:  struct cv_addr -> struct mesh_node.
 * @ranges: struct pod_range -> struct mesh_node.
 * Return: 0; -ENOMEM. */
_must_check_ int mesh_nodes_new(struct hamt *table, struct hamt *ranges, struct mesh_nodes **ret);
struct mesh_nodes *mesh_nodes_free(struct mesh_nodes *n);
DEFINE_CLEANUP(struct mesh_nodes *, mesh_nodes_free);

/**
 * mesh_nodes_put() - add or replace
 * @packed: culvert.node.Node.
 * Return: 0; -EBADMSG not decodable, the old one stays; -ENOMEM.
 */
_must_check_ int mesh_nodes_put(struct mesh_nodes *n, const char *name, const void *packed,
				size_t len);
/** mesh_nodes_del() - unknown ones are ignored. Return: 0; -ENOMEM. */
int mesh_nodes_del(struct mesh_nodes *n, const char *name);
/** mesh_nodes_for_each() - as state_builder_for_each_address(). */
int mesh_nodes_for_each(const struct mesh_nodes *n, int (*fn)(void *arg, const char *name),
			void *arg);

/** mesh_nodes_has_pods() - is @addr one that a node gives its pods? @ranges: as a snapshot has it.
 * Any thread. */
bool mesh_nodes_has_pods(const struct hamt *ranges, const struct cv_addr *addr);

/** node_ports_change() - @edit of @d to what is at its node ports in @table: uint16_t -> one or
 * several of struct service_def. Return: 0; -ENOMEM. */
_must_check_ int node_ports_change(struct hamt *table, const struct service_def *d,
				   const struct reflist_edit *edit);

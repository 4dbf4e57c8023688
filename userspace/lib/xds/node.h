/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* node - culvert.node.Node as nodes read it: its addresses, and what addresses its pods have.
 * Owner: its reader's caller. Immutable. */
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "net/cidr.h"

/** struct xds_node - in one block. */
struct xds_node {
	size_t addrs_count, ranges_count;
	struct cidr *ranges; /* masked */
	struct cv_addr addrs[];
};

/** xds_node_read() - @packed: culvert.node.Node. Return: 0; -EBADMSG, not one, or an address or
 * range in it is none; -ENOMEM. */
_must_check_ int xds_node_read(const void *packed, size_t len, struct xds_node **ret);
/** xds_node_free() - takes NULL. Return: NULL. */
struct xds_node *xds_node_free(struct xds_node *n);
DEFINE_CLEANUP(struct xds_node *, xds_node_free);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dests - destinations: Address resources in, entries of maps out, by delta. An address is a mesh
 * destination when an HBONE workload of any node has it; a service frontend when at least one of
 * its endpoints speaks HBONE, or pods that it selects will, or when only ztunnel balances it; so
 * are its node ports, at the addresses of every node, and the hostPorts of an HBONE workload; a
 * range without a port is one that a node's pods have their addresses from. What has gone stays for
 * a while, see entries.h. What else the registry knows gets entries of its own while that is asked
 * for (REGISTRY_ONLY). Owner: agent. Thread: loop only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/maps.h"
#include "frontends.h"

struct dests; /* opaque */

enum dests_map {
	DESTS_WORKLOADS,  /* struct cv_addr */
	DESTS_SERVICES,   /* struct cv_service_key */
	DESTS_RANGES,     /* struct cv_range_key */
	DESTS_REGISTERED, /* struct cv_service_key */
	DESTS_MAP_MAX,
};

/** dests_key_len() - bytes of a key of this map. */
size_t dests_key_len(enum dests_map map);

/** struct dests_ops - where the entries go. Failures are the callee's to log. */
struct dests_ops {
	void (*on_entry)(void *arg, enum dests_map map, const void *key,
			 const struct cv_dest *dest);
	void (*on_gone)(void *arg, enum dests_map map, const void *key);
};

/** struct dests_config - @node: this node's name; all borrowed, the tables must outlive the rest.
 */
struct dests_config {
	const char *node;
	const struct dests_ops *ops;
	const struct frontends_ops *frontends_ops;
	void *arg;
};

/** dests_new() - empty. Return: 0; -ENOMEM. */
_must_check_ int dests_new(const struct dests_config *config, struct dests **ret);
/** dests_free() - forget everything; no callbacks. Takes NULL. Return: NULL. */
struct dests *dests_free(struct dests *d);
DEFINE_CLEANUP(struct dests *, dests_free);

/**
 * dests_put() - a resource is new or changed
 * @name:   resource name: a workload's uid, a service's "namespace/hostname".
 * @packed: istio.workload.Address.
 * Return: 0; -EBADMSG does not parse or is no sensible Address (the old one stays); -ENOMEM.
 */
_must_check_ int dests_put(struct dests *d, const char *name, const void *packed, size_t len);
/** dests_remove() - a resource is gone; harmless when unknown. */
void dests_remove(struct dests *d, const char *name);

/**
 * dests_put_node() - a node is new or changed
 * @packed: culvert.node.Node.
 * Return: 0; -EBADMSG does not parse (the old one stays); -ENOMEM.
 */
_must_check_ int dests_put_node(struct dests *d, const char *name, const void *packed, size_t len);
/** dests_remove_node() - harmless when unknown. */
void dests_remove_node(struct dests *d, const char *name);
/** dests_for_each_node() - as dests_for_each_name(). */
int dests_for_each_node(const struct dests *d, int (*fn)(void *arg, const char *name), void *arg);

/** dests_for_each_name() - call @fn with the name of each resource that is there; borrowed until it
 * changes. Return: 0; what @fn returned, if not 0. */
int dests_for_each_name(const struct dests *d, int (*fn)(void *arg, const char *name), void *arg);

/** dests_registry() - are entries wanted of what is known and not of the mesh? Not at first. Gives
 * or takes all of them back at once. */
void dests_registry(struct dests *d, bool is_wanted);

/** dests_flush() - frontends_flush(): what belongs together has come. */
void dests_flush(struct dests *d);

/** dests_next_end() - when the first entry that lingers (see entries.h) is to go, CLOCK_MONOTONIC;
 * 0: none lingers. */
uint64_t dests_next_end(const struct dests *d);
/** dests_end() - take out up to @limit of what has lingered by @now_us. */
void dests_end(struct dests *d, uint64_t now_us, size_t limit);

/** dests_has(), dests_has_frontend() - is there an entry for this key? What lingers is there. */
bool dests_has(const struct dests *d, enum dests_map map, const void *key);
/** dests_is_mesh() - has a workload of the mesh this address? */
bool dests_is_mesh(const struct dests *d, const struct cv_addr *addr);
bool dests_has_frontend(const struct dests *d, const struct cv_service_key *key);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dests - mesh destinations: Address resources in, entries of cv_workloads and cv_services out, by
 * delta. An address is a mesh destination when an HBONE workload of any node has it; a service
 * frontend when at least one of its endpoints speaks HBONE. Owner: agent. Thread: loop only. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/maps.h"
#include "frontends.h"

struct dests; /* opaque */

/** struct dests_ops - where the entries go. Failures are the callee's to log. */
struct dests_ops {
	void (*on_workload)(void *arg, const struct cv_addr *addr, const struct cv_dest *dest);
	void (*on_workload_gone)(void *arg, const struct cv_addr *addr);
	void (*on_service)(void *arg, const struct cv_service_key *key, const struct cv_dest *dest);
	void (*on_service_gone)(void *arg, const struct cv_service_key *key);
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

/** dests_has_workload(), _service(), _frontend() - is there an entry for this key? */
bool dests_has_workload(const struct dests *d, const struct cv_addr *addr);
bool dests_has_service(const struct dests *d, const struct cv_service_key *key);
bool dests_has_frontend(const struct dests *d, const struct cv_service_key *key);

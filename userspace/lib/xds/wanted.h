/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* wanted - what one client asked for by name (on-demand), what it has been sent, and what it is to
 * be answered. Owner: xds/server. One thread.
 * As Istio's control plane: a name is a workload's uid, "network/IP" or "namespace/hostname"; who
 * asks for a service is sent its workloads, too; the workloads of the client's own node come
 * unasked. */
#include <stdbool.h>
#include <stddef.h>

#include "base/map.h"
#include "userspace/lib/xds/discovery.pb-c.h"
#include "xds/address_index.h"
#include "xds/resources.h"

struct wanted; /* opaque */

/** wanted_new() - @node: the client's; "": unknown. Its workloads are queued. Return: 0; -ENOMEM.
 */
_must_check_ int wanted_new(const struct address_index *ix, const char *node, struct wanted **ret);
struct wanted *wanted_free(struct wanted *w);
DEFINE_CLEANUP(struct wanted *, wanted_free);

/** wanted_subscribe() - the client asks: it will be answered, even if it has been before. Return:
 * 0; -ENOSPC more names than a client may ask for; -ENOMEM. */
_must_check_ int wanted_subscribe(struct wanted *w, const char *name);
/** wanted_unsubscribe() - it is no longer told of changes, unless it asked by another name, too. */
void wanted_unsubscribe(struct wanted *w, const struct address_index *ix,
			const struct resources *store, const char *name);
/** wanted_hold() - it says that it holds this one since before: it will be told of its changes.
 * Return: as wanted_subscribe(). */
_must_check_ int wanted_hold(struct wanted *w, const char *name);

/** wanted_offer() - it holds this one in an older version. Return: 0; -ENOMEM. */
_must_check_ int wanted_offer(struct wanted *w, const char *name);

/** wanted_is_meant() - does a first request for addresses name some, and not all of them? Istio's
 * ztunnel takes "*" and gives it back in one breath. */
bool wanted_is_meant(const Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *req);
/** wanted_read() - what a request asks for, and no longer. Return: as wanted_subscribe(). */
_must_check_ int wanted_read(struct wanted *w, const struct address_index *ix,
			     const struct resources *store,
			     const Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *req);
/** wanted_compare() - @held: name -> version that the client says it has. What it has
 * in the version that is there (@is_same) need not be sent; what it has in another, and did not ask
 * for once more, comes after what it asked for. Return: as wanted_subscribe(). */
_must_check_ int wanted_compare(struct wanted *w, const struct map *held,
				const struct resources *store, bool is_same);

/** struct wanted_answer - one of both is set. */
struct wanted_answer {
	const struct resource_entry *entry; /* to be sent */
	const char *missing;                /* nobody has this name; valid until the next call */
};

/** wanted_next() - take what is next in the queue. Return: 1; 0 the queue is empty; -ENOMEM. */
_must_check_ int wanted_next(struct wanted *w, const struct address_index *ix,
			     const struct resources *store, struct wanted_answer *ret);
/** wanted_is_pending() - is anything in the queue? */
bool wanted_is_pending(const struct wanted *w);

/** wanted_take() - @e has changed: is it news to this client? If so, it counts as sent. Return: 1;
 * 0; -ENOMEM. */
_must_check_ int wanted_take(struct wanted *w, const struct address_index *ix,
			     const struct resource_entry *e);

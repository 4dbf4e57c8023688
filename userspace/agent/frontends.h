/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* frontends - services whose connections the programs may lead to an endpoint themselves: to the
 * pods of this node, by their weight among all endpoints; what falls on the others ztunnel shares
 * out. One that has a waypoint, prefers another place than this node, keeps its clients at one of
 * several endpoints, has too many on this node or any in another network is not among these:
 * ztunnel chooses for it. Owner: dests. Thread: loop only. */
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/maps.h"
#include "resource.h"

struct frontends; /* opaque */

/** struct frontends_ops - where the entries go; a failure costs no more than the short way. */
struct frontends_ops {
	void (*on_frontend)(void *arg, const struct cv_service_key *key,
			    const struct cv_frontend *frontend);
	void (*on_frontend_gone)(void *arg, const struct cv_service_key *key);
};

/** frontends_new() - none. @node: name of this node; copied. @ops: borrowed. Return: 0; -ENOMEM. */
_must_check_ int frontends_new(const char *node, const struct frontends_ops *ops, void *arg,
			       struct frontends **ret);
/** frontends_free() - forget everything; no callbacks. Takes NULL. Return: NULL. */
struct frontends *frontends_free(struct frontends *f);
DEFINE_CLEANUP(struct frontends *, frontends_free);

/**
 * frontends_replace() - a resource changes from @old to @new; NULL: it was not, or is no longer,
 * there. Both are borrowed; @new until it is replaced. Out of memory the services it concerns are
 * left to ztunnel. Entries follow with frontends_flush(); only those of a service that goes, or
 * whose address is another's too, are gone at once.
 */
void frontends_replace(struct frontends *f, const char *name, const struct resource *old,
		       const struct resource *new);

/** frontends_flush() - on_frontend() for all that has changed, and for some that has not. */
void frontends_flush(struct frontends *f);

/** frontends_has() - is there an entry for this key? */
bool frontends_has(const struct frontends *f, const struct cv_service_key *key);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* revisions - the control planes that a cluster has beside each other, and which of them has what
 * there is one of: the nodes' DaemonSet, and the webhook of objects that name no revision.
 * Blocking, one thread. */
#include <jansson.h>
#include <stdbool.h>

#include "base/macros.h"
#include "kube.h"

#define REVISION_MAX     64
#define REVISION_DEFAULT "default" /* what the one without a name is called */

/** struct revisions - what is there. */
struct revisions {
	/* by name: {"version": text, "spec": what was asked for}; "spec" is not there where it was
	 * not `culvert install` that made it, or it did not get to its end */
	json_t *all;
	char nodes[REVISION_MAX];   /* whose DaemonSet ztunnel is; "": there is none of ours */
	char asked[REVISION_MAX];   /* which one it asks */
	char objects[REVISION_MAX]; /* who is asked for objects that name no revision; "": nobody */
};

/** revisions_read() - ask the API server. @ret: revisions_clear(), whatever comes. Return: 0; 1,
 * said on stderr. */
_must_check_ int revisions_read(struct kube *k, struct revisions *ret);
void revisions_clear(struct revisions *r);

/** revisions_has() - is there such a control plane, or half of one? */
bool revisions_has(const struct revisions *r, const char *name);
/** revisions_spec() - what was asked for; borrowed. NULL: that is not known. */
const json_t *revisions_spec(const struct revisions *r, const char *name);
/** revisions_version() - which version it was installed with; "?" when that is not known. */
const char *revisions_version(const struct revisions *r, const char *name);
/** revisions_names() - "canary, default"; caller frees. NULL: out of memory. */
char *revisions_names(const struct revisions *r);
/**
 * revisions_trust_domain() - of a revision, as its MeshConfig in the cluster has it
 * @ret: "cluster.local" when that says nothing.
 * Return: 0; 1, said on stderr.
 */
_must_check_ int revisions_trust_domain(struct kube *k, const char *name, char ret[256]);
/** revisions_is_others() - has another revision than @name what is @owner's? */
bool revisions_is_others(const char *owner, const char *name);
/**
 * revisions_is_left() - is @object of what there is one of, and another revision's than @name?
 * Whatever its label says: who began to take the nodes over, and got no further, has put theirs on
 * accounts and roles that the nodes go on with.
 */
bool revisions_is_left(const struct revisions *r, const char *name, const json_t *object);

/** revision_is_ours() - is this Deployment or DaemonSet Culvert's? Istio's own have the same names.
 */
bool revision_is_ours(const json_t *object);

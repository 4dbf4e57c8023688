/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* model - Kubernetes objects in, xDS resources out, by delta: workloads, services and L4 policies
 * as ztunnels want them. Owner: its creator. One thread, never blocks. A change costs as much as
 * what it touches, not as much as there is. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "source/object.h"
#include "source/pod_facts.h"
#include "source/source.h"
#include "xds/types.h"

struct model; /* opaque */

/** struct model_ops - what comes out of model_flush(). All strings and bytes are borrowed for the
 * call. */
struct model_ops {
	/* new or changed; @packed is the message of @type. XDS_ADDRESS: workloads by uid, services
	 * by "namespace/hostname"; XDS_AUTHORIZATION by "namespace/name". Return: 0; -ENOMEM ends
	 * the flush: it comes again with the next one. */
	int (*on_resource)(void *arg, enum xds_type type, const char *name, const void *packed,
			   size_t len);
	void (*on_removed)(void *arg, enum xds_type type, const char *name);
	/* something of an object is not honoured (is_warning) or wrong. Its messages are replaced
	 * as a whole: first on_error_cleared() for the object, then on_error() for each that holds
	 * now. */
	void (*on_error)(void *arg, const struct source_error *err);
	void (*on_error_cleared)(void *arg, const char *kind, const char *namespace_,
				 const char *name);
};

/** struct model_config - NULL members take the default. Copied. */
struct model_config {
	const char *cluster_id;     /* "Kubernetes" */
	const char *trust_domain;   /* "cluster.local" */
	const char *root_namespace; /* "istio-system" */
	const char *cluster_domain; /* "cluster.local" */
};

/** model_new() - an empty model. @ops is borrowed and must outlive it. Return: 0; -ENOMEM. */
_must_check_ int model_new(const struct model_ops *ops, void *arg,
			   const struct model_config *config, struct model **ret);
/** model_free() - no callbacks. Takes NULL. Return: NULL. */
struct model *model_free(struct model *m);
DEFINE_CLEANUP(struct model *, model_free);

/** model_set_trust_domain_aliases() - further names of the trust domain, instead of those before:
 * policies mean each of them. Comes out with the next model_flush(). @names: copied. Return: 0;
 * -ENOMEM (set them again). */
_must_check_ int model_set_trust_domain_aliases(struct model *m, const char *const *names,
						size_t n);

/** model_put() - an object is new or changed; takes a reference. Kinds that the model does not use
 * are ignored. A Pod must be reduced (object_reduce()). Nothing comes out before model_flush().
 * Return: 0; -EINVAL a Pod that is not; -ENOMEM (the object may be half in: put it again). */
_must_check_ int model_put(struct model *m, struct object *obj);
/** model_delete() - an object is gone; found by its kind, namespace and name. Return: 0; -ENOMEM.
 */
_must_check_ int model_delete(struct model *m, const struct object *obj);
/** model_set_registry_only() - outboundTrafficPolicy: ServiceEntries that only a name could tell
 * are resolved here then. Return: 0; -ENOMEM: call it again. */
_must_check_ int model_set_registry_only(struct model *m, bool is_registry_only);
/** model_set_entry_visibility() - MeshConfig's serviceEntryVisibility, as mesh_config.h has it;
 * NULL: none. Comes out with the next model_flush(). @rules: counted. */
void model_set_entry_visibility(struct model *m, const json_t *rules);
/** model_flush() - work out what changed and emit only that. Call at each consistent point
 * (source's on_synced). Return: 0; -ENOMEM: what was not emitted comes with the next flush. */
_must_check_ int model_flush(struct model *m);

/** model_has_identity_on_node() - does some pod that has not ended run on @node under the identity
 * "spiffe://td/ns/x/sa/y"? For the CA. False on anything malformed or of another trust domain. */
bool model_has_identity_on_node(const struct model *m, const char *spiffe, const char *node);

/** model_find_pod() - Return: what the Pod said when it was put last, borrowed until the next put,
 * delete or free; NULL when there is none. */
const struct pod_facts *model_find_pod(const struct model *m, const char *namespace_,
				       const char *name);

/** struct model_pod - one pod as the model sees it; borrowed, valid until the next put, delete or
 * free. */
struct model_pod {
	const struct object *pod;
	const char *namespace_, *name, *service_account, *node;
	bool is_enrolled, is_ready, has_ended;
};

/** model_pods_on_node() - call @fn for each pod whose spec.nodeName is @node; a result other than 0
 * stops. Return: 0, or what @fn returned. @fn must not change the model. */
int model_pods_on_node(const struct model *m, const char *node,
		       int (*fn)(void *arg, const struct model_pod *pod), void *arg);

/** model_has_workloads() - is there an enrolled pod that @match_labels of a resource in @namespace_
 * are meant for? In the root namespace: any namespace's. */
bool model_has_workloads(const struct model *m, const char *namespace_, const json_t *match_labels);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_kinds - the kinds that an installation consists of: where the API server has them, and in
 * which order they come. No state. */
#include <jansson.h>
#include <stdbool.h>

#include "base/macros.h"

/** enum kube_rank - the order in which objects are made; they go in the reverse one. */
enum kube_rank {
	KUBE_RANK_NAMESPACE,
	KUBE_RANK_DEFINITION, /* CustomResourceDefinitions */
	KUBE_RANK_ACCOUNT,    /* accounts, roles, configuration: whatever processes need */
	KUBE_RANK_SERVICE,
	KUBE_RANK_CONTROL, /* Deployments */
	KUBE_RANK_NODE,    /* DaemonSets: their pods mount what the control plane makes */
	KUBE_RANK_WEBHOOK, /* once somebody answers them */
};

/** struct kube_kind - one kind. */
struct kube_kind {
	const char *kind, *api_version, *plural;
	enum kube_rank rank;
	bool is_namespaced;
	bool is_kept; /* never pruned: what hangs on it is not ours alone */
};

/** kube_kinds() - all; a NULL kind ends the table. */
const struct kube_kind *kube_kinds(void);
/** kube_kind_find() - Return: static; NULL: an installation has no such kind. */
const struct kube_kind *kube_kind_find(const char *api_version, const char *kind);
/** kube_kind_of() - the same of an object. */
const struct kube_kind *kube_kind_of(const json_t *object);

/** kube_path() - of the object @name, or with NULL of all of that kind, in @namespace_, or with
 * NULL everywhere; caller frees. NULL: out of memory. */
char *kube_path(const struct kube_kind *kind, const char *namespace_, const char *name);
/** kube_path_of() - of an object; caller frees. NULL: no known kind, no name, or no memory. */
char *kube_path_of(const json_t *object);

/** kube_name(), kube_ns() - metadata.name, metadata.namespace; "" when there is none. Borrowed. */
const char *kube_name(const json_t *object);
const char *kube_ns(const json_t *object);
/** kube_meta() - metadata[GROUP][KEY]: a label or an annotation. Return: borrowed; NULL: none. */
const char *kube_meta(const json_t *object, const char *group, const char *key);
/** kube_title() - "Deployment istio-system/istiod"; caller frees. NULL: out of memory. */
char *kube_title(const json_t *object);

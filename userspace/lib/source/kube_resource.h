/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_resource - the kinds that a source reads of an API server, and where they are there. No
 * state. For kube.c. */
#include <stdbool.h>

#include "source/source.h"

/** struct kube_resource - where a kind lives; Istio's, where it has them in older versions only, in
 * the newest of those. */
struct kube_resource {
	const char *kind, *group_version, *plural;
	bool is_aside; /* nothing else depends on it: nobody waits for it */
};

/** kube_resource_find() - Return: static; NULL: none is called so. */
const struct kube_resource *kube_resource_find(const char *kind);
/** kube_resource_is_builtin() - Kubernetes' own kinds are checked by the API server, and grow new
 * fields with its versions. */
bool kube_resource_is_builtin(const struct kube_resource *r);
/** kube_resource_selector(), kube_resource_path() - of its list. Return: the caller's; NULL: out of
 * memory. */
char *kube_resource_selector(const struct source_kube_config *config,
			     const struct kube_resource *r);
char *kube_resource_path(const struct source_kube_config *config, const struct kube_resource *r);

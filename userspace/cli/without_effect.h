/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* without_effect - the objects of a cluster that may be written and do nothing yet: Istio's by
 * their kind, the Gateway API's by what the control plane has written into their status. Blocking.
 */
#include <jansson.h>
#include <stdbool.h>

#include "base/macros.h"
#include "kube.h"

/** without_effect_is() - is it such a kind of Istio's or the Gateway API's? */
bool without_effect_is(const char *kind);
/**
 * without_effect_each() - call @fn for each
 * @ns: NULL: of all namespaces, and what is in none. @message: the sentence that says so.
 * Return: 0; -errno as kube_list(); kinds that the cluster does not have are passed over.
 */
_must_check_ int without_effect_each(struct kube *k, const char *ns,
				     void (*fn)(void *arg, const char *kind, const json_t *object,
						const char *message),
				     void *arg);
/** without_effect_concerns() - does the object name that service, by host or as its parent? */
bool without_effect_concerns(const json_t *object, const char *ns, const char *service);

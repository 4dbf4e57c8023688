/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_prune - leave out of an API server's object what the mesh never reads: bookkeeping that
 * changes without meaning, and most of a Pod. No state. */
#include <jansson.h>

/** kube_prune() - change @body in place. @kind: "Pod", "Node" ... */
void kube_prune(const char *kind, json_t *body);

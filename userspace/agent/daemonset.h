/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* daemonset - does a DaemonSet want a node? By what its administrator says with labels of the node:
 * as Kubernetes' own controller, which ends its pod there if not. */
#include <jansson.h>
#include <stdbool.h>

/**
 * daemonset_wants() - nodeSelector and required node affinity of its pods against the node's labels
 * and name, and taints that put running pods out (NoExecute) against their tolerations. Taints of
 * Kubernetes' own are a node's condition and nobody's wish. What is not understood counts as: it
 * does.
 * @daemonset, @node: as the API server has them.
 */
bool daemonset_wants(const json_t *daemonset, const json_t *node);

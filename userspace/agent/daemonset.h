/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* daemonset - does a DaemonSet want a node? By what its administrator says with labels of the node:
 * as Kubernetes' own controller, which ends its pod there if not. And is it to stay? */
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

/** enum daemonset_fate - what becomes of it and of its pods. */
enum daemonset_fate {
	DAEMONSET_STAYS,
	DAEMONSET_GOES,    /* and its pods with it */
	DAEMONSET_ORPHANS, /* it goes and leaves them, for another one (--cascade=orphan) */
};

/** daemonset_fate() - by its metadata. @daemonset: as the API server has it. */
enum daemonset_fate daemonset_fate(const json_t *daemonset);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* status_cluster - one look at a cluster: the control plane, the nodes, the namespaces that are in
 * the mesh, and everything that is wrong. */
#include <jansson.h>

#include "admin.h"

/**
 * status_cluster() - show it
 * @node: only this one; NULL: all.
 * Return: the exit code: 1 when something is wrong.
 */
int status_cluster(const char *node, const char *output);

/** status_cluster_print() - in words, of what status_cluster() gathered. Return: the exit code. */
int status_cluster_print(const json_t *all);

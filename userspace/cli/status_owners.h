/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* status_owners - is there a pod for each that is wanted, and one on each node? What was never made
 * says nothing of itself. No state. */
#include <jansson.h>

#include "base/macros.h"
#include "kube.h"

/**
 * status_owners() - add what is missing to @all, as status_cluster() has it
 * @pods: the mesh's, of all nodes.
 * @node: the only one that is asked about; NULL: all.
 * What may not be listed is not looked at. Return: 1: there is a mesh, or what is left of one; 0;
 * -errno as kube_do().
 */
_must_check_ int status_owners(struct kube *k, const json_t *pods, const char *node, json_t *all);
/** status_problem() - add "WHERE: WHAT" to a list of problems. */
void status_problem(json_t *problems, const char *where, const char *what);

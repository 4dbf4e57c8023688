/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* admin_remote - the daemons of a cluster's nodes: what ztunnel and the control plane serve on
 * loopback inside their pods is reached by port-forward (kube_forward); the agent, and all where
 * that is refused, by a command in the pod (kube_exec). Nothing of them listens on a network: who
 * may create neither pods/portforward nor pods/exec in istio-system learns nothing. Blocking, one
 * thread. */
#include "admin.h"
#include "kube.h"

/* This program, in each image of ours. */
#define ADMIN_REMOTE_PROGRAM "/usr/local/bin/culvert"

/** admin_remote_kube() - the cluster that is meant, opened once. Return: borrowed; NULL: said on
 * stderr. */
struct kube *admin_remote_kube(void);
/** admin_remote_nodes() - the nodes that have a pod of the mesh, by name; with @node only that.
 * Return: how many; -1: the API server cannot be asked, said on stderr. */
int admin_remote_nodes(const char *node, struct admin_node *ret, size_t max);
/** admin_remote_none() - tell why there were none, where that was not said. Return: 1. */
int admin_remote_none(void);
/** admin_remote_control() - likewise the pods of the control plane; name is the pod's. */
int admin_remote_control(struct admin_node *ret, size_t max);
/** admin_remote_request() - as admin_request(), for a node with a pod. */
_must_check_ int admin_remote_request(const struct admin_node *n, const char *part,
				      const char *method, const char *target, struct buf *body);
/** admin_remote_run() - a command in the container @part of a node's pod. Return: its exit code;
 * -errno as kube_exec(). */
_must_check_ int admin_remote_run(const struct admin_node *n, const char *part,
				  const char *const *command, struct buf *out);
/** admin_remote_line() - the first line of what a command said, cut to @size. Return: @into. */
const char *admin_remote_line(const struct buf *said, char *into, size_t size);
/** admin_remote_why() - a sentence about the last that failed; borrowed. */
const char *admin_remote_why(void);

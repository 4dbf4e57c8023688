/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* redirection - the annotation ambient.istio.io/redirection of the node's pods: "enabled" once
 * captured, "pending" while that takes long, gone when they are not in the mesh. For people, and
 * for a control plane of Istio's. Owner: agent. Thread: loop only. */
#include "base/cleanup.h"
#include "base/loop.h"
#include "kube_write.h"
#include "objects.h"
#include "pods.h"

struct redirection; /* opaque */

/** redirection_new() - all borrowed, must outlive it. Return: 0; -ENOMEM. */
_must_check_ int redirection_new(struct loop *loop, struct kube_write *write,
				 const struct objects *objects, const struct pods *pods,
				 struct redirection **ret);
/** redirection_free() - what is written stays. Takes NULL. Return: NULL. */
struct redirection *redirection_free(struct redirection *r);
DEFINE_CLEANUP(struct redirection *, redirection_free);

/** redirection_changed() - a pod's object, or how a pod is held, is another now. Takes NULL. */
void redirection_changed(struct redirection *r);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* untaint - a Node that joins with a taint gets no pods until the mesh is there: while we are the
 * leader, the taint goes once ztunnel's pod on it is ready. As Istio's untaint controller. Owner:
 * cluster. Thread: its loop. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_client.h"
#include "source/object.h"

struct untaint; /* opaque */

struct untaint_config {
	struct loop *loop;        /* borrowed */
	struct kube_client *kube; /* borrowed */
	const char *namespace_;   /* borrowed; where ztunnel's pods are */
	const char *key;          /* borrowed; of the taint, whatever its value and effect */
};

_must_check_ int untaint_new(const struct untaint_config *config, struct untaint **ret);
/** untaint_free() - before its client. Takes NULL. Return: NULL. */
struct untaint *untaint_free(struct untaint *u);
DEFINE_CLEANUP(struct untaint *, untaint_free);

/** untaint_lead() - write from now on, or leave it to another. */
void untaint_lead(struct untaint *u, bool is_leader);
/** untaint_put(), untaint_delete() - every object that the source has: Nodes, and Pods that are
 * reduced. Without memory a taint stays until its Node or pod changes. */
void untaint_put(struct untaint *u, const struct object *obj);
void untaint_delete(struct untaint *u, const struct object *obj);
/** untaint_count() - Nodes whose taint is there. */
size_t untaint_count(const struct untaint *u);

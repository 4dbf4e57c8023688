/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_events - Kubernetes Events about pods: what `kubectl describe pod` shows of the mesh. Each
 * thing once in a while, few in all. Owner: agent. Thread: loop only. */
#include "base/cleanup.h"
#include "base/loop.h"
#include "kube_write.h"
#include "source/object.h"

struct kube_events; /* opaque */

/** kube_events_new() - @write and @loop are borrowed, must outlive it; @node is copied. Return: 0;
 * -ENOMEM. */
_must_check_ int kube_events_new(struct loop *loop, struct kube_write *write, const char *node,
				 struct kube_events **ret);
/** kube_events_free() - takes NULL. Return: NULL. */
struct kube_events *kube_events_free(struct kube_events *e);
DEFINE_CLEANUP(struct kube_events *, kube_events_free);

/** kube_events_warn() - something is wrong with a pod, unless that is being deleted. @reason: one
 * word in camel case; static. Takes a NULL @e or @pod. */
void kube_events_warn(struct kube_events *e, const struct object *pod, const char *reason,
		      const char *message);

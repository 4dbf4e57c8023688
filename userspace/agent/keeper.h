/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* keeper - the DaemonSet that keeps an agent running on its node: is one that ends to come back?
 * Owner: agent. Thread: loop only. */
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "source/kube_client.h"

struct keeper; /* opaque */

struct keeper_config {
	struct loop *loop;          /* borrowed */
	struct kube_client *client; /* borrowed */
	const char *node;           /* copied */
	const char *daemonset;      /* "namespace/name"; copied */
};

/** keeper_new() - listen from now on for its end: who takes a mesh away may take the rights to ask
 * first. Return: 0; -EINVAL @daemonset has no slash; -ENOMEM. */
_must_check_ int keeper_new(const struct keeper_config *config, struct keeper **ret);
/**
 * keeper_has_left() - at the agent's end: is none to come back to this node? Asks the API server, a
 * few seconds at most; not inside a callback. What is not certain is a no.
 * @k: NULL: no.
 * @is_ending: the DaemonSet's namespace is being deleted, as objects_is_ending().
 */
bool keeper_has_left(struct keeper *k, bool is_ending);
/** keeper_free() - before its client. Takes NULL. Return: NULL. */
struct keeper *keeper_free(struct keeper *k);
DEFINE_CLEANUP(struct keeper *, keeper_free);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* objects - from Pods and Namespaces of the source to the pods that this node enrols. Owner: agent.
 * Thread: loop only. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "podspec.h"
#include "source/source.h"

struct objects; /* opaque */

struct objects_config {
	struct loop *loop;      /* borrowed */
	const char *config_dir; /* borrowed for the call; NULL: an API server */
	const char *kubeconfig; /* borrowed for the call; as kube_client_open() */
	const char *node;       /* only pods with this spec.nodeName; copied */
	void (*on_pod)(void *arg,
		       struct podspec *spec); /* in the mesh, new or changed; @spec is given away */
	void (*on_pod_gone)(void *arg, const char *key); /* not, or no longer; may be unknown */
	void (*on_synced)(void *arg);
	void *arg;
};

/** objects_new() - read and follow the folder or the API server. Return: 0; -errno of
 * source_folder_new(), kube_client_open(). */
_must_check_ int objects_new(const struct objects_config *config, struct objects **ret);
/** objects_free() - takes NULL. Return: NULL. */
struct objects *objects_free(struct objects *o);
DEFINE_CLEANUP(struct objects *, objects_free);

/** objects_for_each_error() - what is wrong with this node's pods, one line each. */
void objects_for_each_error(const struct objects *o,
			    void (*fn)(void *arg, const char *line, bool is_warning), void *arg);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* bootstrap - what must be known before a control plane can serve. Runs the loop until it is; the
 * API server is asked until it answers, a folder followed. Owner: main, at the start only. */
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_call.h"
#include "source/mesh_config.h"

struct bootstrap {
	struct loop *loop;        /* borrowed; loop_stop() ends the bootstrap */
	struct kube_client *kube; /* borrowed; NULL: a folder */
	const char *folder;       /* of manifests, without @kube */
	const char *namespace_;   /* where the mesh is installed */
	const char *mesh_config;  /* name of MeshConfig's ConfigMap, in a cluster */
};

/** bootstrap_mesh_config() - that ConfigMap of that namespace; one with a mistake is waited out.
 * @on_error: as mesh_config_read(), once for each version of it. Return: 0, also when there is
 * none; -EINTR stopped; -ENOMEM; -errno of the folder. */
_must_check_ int bootstrap_mesh_config(const struct bootstrap *b,
				       void (*on_error)(void *arg, const struct source_error *err),
				       void *arg, struct mesh_config *ret);

/** bootstrap_call() - ask until there is an answer: of status 2xx, 404 or 409. Return: 0; -EINTR
 * stopped; -ENOMEM. */
_must_check_ int bootstrap_call(const struct bootstrap *b, const struct kube_request_config *config,
				struct kube_reply *ret);

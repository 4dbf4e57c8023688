/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* bootstrap - what must be known from the API server before a cluster's control plane can serve:
 * MeshConfig and the CA. Runs the loop until it has its answers; until the API server gives them it
 * asks again. Owner: main, at the start only. */
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_client.h"
#include "source/mesh_config.h"

#define BOOTSTRAP_CACERTS "/etc/cacerts" /* where Secret cacerts is mounted, when there is one */

struct bootstrap {
	struct loop *loop;        /* borrowed; loop_stop() ends the bootstrap */
	struct kube_client *kube; /* borrowed */
	const char *root_namespace;
};

/** bootstrap_mesh_config() - ConfigMap "istio" of the root namespace. @on_error as
 * mesh_config_read(). Return: 0, also when there is none; -EINTR stopped; -EINVAL; -ENOMEM. */
_must_check_ int bootstrap_mesh_config(const struct bootstrap *b,
				       void (*on_error)(void *arg, const struct source_error *err),
				       void *arg, struct mesh_config *ret);

/**
 * bootstrap_ca() - the self-made CA that all replicas share, Secret istio-ca-secret, as files
 * @dir: private, in memory; made. The first of several replicas makes the CA, the others take it.
 * Return: 0; -EINTR stopped; -errno of the files; -EBADMSG the Secret is not one of a CA.
 */
_must_check_ int bootstrap_ca(const struct bootstrap *b, const char *dir, const char *trust_domain);

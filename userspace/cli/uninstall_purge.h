/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* uninstall_purge - what a control plane has made by itself, which has no label of an installation
 * and outlives it: the CA's key and root certificates, GatewayClasses, Leases. Blocking, one
 * thread. Where Istio's own control plane is there, key and root certificates are that one's. */
#include <stdbool.h>

#include "install.h"
#include "kube.h"

/* Where the leaders of control planes have their Leases, and how these names begin. */
#define UNINSTALL_LEASES "/apis/coordination.k8s.io/v1/namespaces/" KUBE_MESH_NAMESPACE "/leases"
#define UNINSTALL_LEASE  "culvert-leader"

/** uninstall_find_istio() - is Istio's own control plane there? A revision of it has a name of its
 * own, and the same CA and definitions. Return: 0; -errno: it cannot be seen. */
_must_check_ int uninstall_find_istio(struct install_run *run, bool *ret);
/** uninstall_purge_is_due() - is any of it there? What the API server does not tell may be there:
 * removing it says why that cannot be. */
bool uninstall_purge_is_due(struct install_run *run);
/** uninstall_purge_made() - remove it. Return: 0, also when there is none; 1, said on stderr. */
_must_check_ int uninstall_purge_made(struct install_run *run);
/** uninstall_delete() - the object at @path, or nothing when it is not there. Return: 0; 1, said on
 * stderr. */
_must_check_ int uninstall_delete(struct install_run *run, const char *path);
/** uninstall_count() - how many objects there are of a definition. Return: 0; -ENOENT it is served
 * in no version: that cannot be seen; -errno as kube_do(). */
_must_check_ int uninstall_count(struct install_run *run, const json_t *crd, size_t *ret);

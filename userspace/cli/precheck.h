/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* precheck - is a cluster one that an installation goes well in? Blocking, one thread. */
#include <jansson.h>

#include "kube.h"

/* What Linkerd gives the pods that it has put its proxy into. */
#define PRECHECK_LINKERD_LABEL "linkerd.io/control-plane-ns"

/** precheck_run() - everything, for @objects that are to be applied. @list: findings. Return: 0; 1,
 * the exit code, when the API server cannot be asked: said on stderr. */
_must_check_ int precheck_run(struct kube *k, const json_t *objects, json_t *list);
/** precheck_install() - the same; errors are said and end it, warnings are only said. Return: 0;
 * 1. */
_must_check_ int precheck_install(struct kube *k, const json_t *objects);

/* Parts, for tests: each looks at what the API server gave, and asks nothing. */
void precheck_version(const json_t *version, json_t *list);
void precheck_nodes(const json_t *nodes, json_t *list);
void precheck_namespaces(const json_t *namespaces, json_t *list);
void precheck_workloads(const json_t *workloads, json_t *list);
/* @daemonsets: calico-node; @felix: FelixConfigurations; may be NULL. */
void precheck_calico(const json_t *daemonsets, const json_t *felix, json_t *list);
void precheck_linkerd(const json_t *crds, json_t *list);
/* @pods: those with PRECHECK_LINKERD_LABEL; may be NULL. */
void precheck_meshed_twice(const json_t *namespaces, const json_t *pods, json_t *list);
/* @objects: that are to be applied */
void precheck_definitions(const json_t *crds, const json_t *objects, json_t *list);
/* @pods: some of them. */
void precheck_ranges(const json_t *nodes, const json_t *pods, const json_t *objects, json_t *list);

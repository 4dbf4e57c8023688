/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* roots - ConfigMap istio-ca-root-cert in every namespace of the mesh, so that pods know whom to
 * trust: written by server-side apply while we are the leader, again when the roots change or when
 * somebody else changed or deleted it. Owner: cluster. Thread: its loop. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "ca.h"
#include "source/kube_client.h"
#include "source/object.h"

struct roots; /* opaque */

struct roots_config {
	struct loop *loop;        /* borrowed */
	struct kube_client *kube; /* borrowed */
	/** is_selected() - is the namespace one of the mesh's (discoverySelectors)? */
	bool (*is_selected)(void *arg, const char *namespace_);
	void *arg;
};

_must_check_ int roots_new(const struct roots_config *config, struct roots **ret);
struct roots *roots_free(struct roots *r);
DEFINE_CLEANUP(struct roots *, roots_free);

/** roots_set_text() - PEM of the roots; copied. Return: 0; -ENOMEM. */
_must_check_ int roots_set_text(struct roots *r, const char *pem);
/** roots_lead() - write from now on, or leave it to another. Return: 0; -ENOMEM. */
int roots_lead(struct roots *r, bool is_leader);
/** roots_put_namespace() - new or changed: write there, if that has not been done. */
void roots_put_namespace(struct roots *r, const struct object *ns);
void roots_delete_namespace(struct roots *r, const char *name);
/** roots_check() - is_selected() may say otherwise now. */
void roots_check(struct roots *r);
/** roots_count() - namespaces that have them as they should be. */
size_t roots_count(const struct roots *r);

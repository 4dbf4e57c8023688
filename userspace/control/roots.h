/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* roots - ConfigMap istio-ca-root-cert in every namespace, so that pods know whom to trust: written
 * by server-side apply, again when the roots change. Owner: control. Thread: its loop. */
#include "base/cleanup.h"
#include "ca.h"
#include "source/kube_client.h"
#include "source/object.h"

struct roots; /* opaque */

struct roots_config {
	struct kube_client *kube; /* borrowed */
};

_must_check_ int roots_new(const struct roots_config *config, struct roots **ret);
struct roots *roots_free(struct roots *r);
DEFINE_CLEANUP(struct roots *, roots_free);

/** roots_set_ca() - whose roots; borrowed for the call. Return: 0; -ENOMEM. */
_must_check_ int roots_set_ca(struct roots *r, const struct ca *ca);
/** roots_put_namespace() - write there, if that has not been done. */
void roots_put_namespace(struct roots *r, const struct object *ns);
void roots_delete_namespace(struct roots *r, const char *name);

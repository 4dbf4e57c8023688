/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* registration - a leader keeps a ValidatingWebhookConfiguration right: whom the API server may
 * trust, and, once a wrong object was seen to be refused, that nothing comes in unchecked
 * (failurePolicy Fail). Owner: cluster. Thread: its loop. */
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_client.h"

struct registration; /* opaque */

struct registration_config {
	struct loop *loop;        /* borrowed */
	struct kube_client *kube; /* borrowed */
	const char *namespace_;   /* borrowed; of the control plane */
	/* borrowed; the one for objects of this revision, "" the default one; NULL: the one for
	 * objects that name no revision, whoever answers it */
	const char *revision;
	uint64_t retry_us; /* between two tries; 0: a second */
};

_must_check_ int registration_new(const struct registration_config *config,
				  struct registration **ret);
struct registration *registration_free(struct registration *r);
DEFINE_CLEANUP(struct registration *, registration_free);

/** registration_set_roots() - PEM of whom the API server is to trust; copied. Return: 0; -ENOMEM.
 */
_must_check_ int registration_set_roots(struct registration *r, const char *pem);
/** registration_lead() - from now on, or leave it to another. Return: 0; -ENOMEM. */
int registration_lead(struct registration *r, bool is_leader);
/** registration_is_seen() - was a wrong object refused, while we led? */
bool registration_is_seen(const struct registration *r);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_write - what the agent writes to the API server: few at a time, and told once when it may
 * not. Nothing waits for it. Owner: agent. Thread: loop only. */
#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_client.h"

struct kube_write; /* opaque */

/** struct kube_write_request - one; strings are copied but for @right. */
struct kube_write_request {
	const char *method, *path, *content_type, *body;
	const char *right; /* that it takes, as "patch pods/status"; static */
	/** on_done() - @status: HTTP, 0: no answer. Not called once kube_write_free() was. May be
	 * NULL. */
	void (*on_done)(void *arg, int status);
	void *arg;
};

/** kube_write_new() - both borrowed, must outlive it. Return: 0; -ENOMEM. */
_must_check_ int kube_write_new(struct loop *loop, struct kube_client *client,
				struct kube_write **ret);
/** kube_write_free() - takes NULL. Return: NULL. */
struct kube_write *kube_write_free(struct kube_write *w);
DEFINE_CLEANUP(struct kube_write *, kube_write_free);

/** kube_write_send() - Return: 0 it is under way; -EBUSY too many are; -EACCES the right was
 * missing a short while ago; -ENOMEM. */
_must_check_ int kube_write_send(struct kube_write *w, const struct kube_write_request *request);

/** kube_write_missing() - the rights that were missing, one after the other: @i from 0. What was
 * not tried again for two minutes, for want of something to write, is not known any more. Return: a
 * sentence, owned by @w; NULL: no more. Takes NULL. */
const char *kube_write_missing(struct kube_write *w, size_t i);

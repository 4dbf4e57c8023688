/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cni_fresh - is a namespace outside the mesh right now? The watch may be a moment behind, and a
 * pod that starts in that moment would be let go. Owner: agent. Thread: loop only. */
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_client.h"

struct cni_fresh; /* opaque */

enum cni_fresh_says {
	CNI_FRESH_LATER,   /* the API server has been asked, or cannot say: ask again in a moment */
	CNI_FRESH_OUTSIDE, /* or it has not said for 10 s: pods start without it, too */
	CNI_FRESH_INSIDE,
};

/** cni_fresh_new() - @on_answer: it has been answered, or not been. @client: borrowed, must outlive
 * it. Return: 0; -ENOMEM. */
_must_check_ int cni_fresh_new(struct loop *loop, struct kube_client *client,
			       void (*on_answer)(void *arg), void *arg, struct cni_fresh **ret);
/** cni_fresh_free() - takes NULL. Return: NULL. */
struct cni_fresh *cni_fresh_free(struct cni_fresh *f);
DEFINE_CLEANUP(struct cni_fresh *, cni_fresh_free);

/** cni_fresh_ask() - @since_us: an answer to a question of that time or later counts, by
 * loop_now_us(). */
enum cni_fresh_says cni_fresh_ask(struct cni_fresh *f, const char *namespace_, uint64_t since_us);

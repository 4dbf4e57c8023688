/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_frames - the body of a watch: one JSON object per line, cut anywhere by the network. Sans
 * I/O; owner: its watch. Whatever the bytes are, memory is bounded and nothing crashes. */
#include <stddef.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/macros.h"

#define KUBE_FRAME_MAX (8u << 20) /* bytes of a line; an API server's own limit is 3 MiB */

enum kube_event {
	KUBE_ADDED,
	KUBE_MODIFIED,
	KUBE_DELETED,
	KUBE_BOOKMARK,
	KUBE_ERROR, /* object is a Status */
	KUBE_EVENT_MAX,
};

/** struct kube_frames - zero it before use; kube_frames_reset() at the end. */
struct kube_frames {
	struct buf line; /* what has no end yet */
};

/**
 * kube_frames_feed() - take the next bytes
 * @on_event: a whole event; @object is borrowed and always a JSON object. A result other than 0
 * stops.
 * Return: 0; what @on_event returned; -EBADMSG no event of a watch; -EMSGSIZE a line without end;
 * -ENOMEM. After an error only kube_frames_reset() may follow.
 */
_must_check_ int kube_frames_feed(struct kube_frames *f, const char *data, size_t len,
				  int (*on_event)(void *arg, enum kube_event event, json_t *object),
				  void *arg);
void kube_frames_reset(struct kube_frames *f);

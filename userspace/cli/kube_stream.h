/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_stream - a connection to something in a pod, by the API server: a WebSocket whose messages
 * begin with the number of their channel (v4 and v5.channel.k8s.io), which every version since 1.4
 * speaks, unlike SPDY, which newer ones drop. Blocking. */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "kube.h"

struct kube_stream; /* opaque */

/** struct kube_stream_config - what is wanted; all borrowed until kube_stream_close(). */
struct kube_stream_config {
	const char *path;      /* "/api/v1/namespaces/NS/pods/POD/exec?..." */
	const char *protocols; /* in the order in which they are wanted */
	const char *what;      /* begins the sentences in @err */
	uint64_t timeout_us;   /* without a word; 15 times that for all of it */
	/** on_data() - what came on a channel; other than 0 ends all, and is handed on. */
	int (*on_data)(void *arg, uint8_t channel, const uint8_t *data, size_t len);
	void *arg;
	char *err; /* "" at first; a sentence about what went wrong */
	size_t err_size;
};

/**
 * kube_stream_open() - ask for it; on_data() may be called already
 * Return: 0; -EACCES 401 and 403, -ENOENT 404, -ETIMEDOUT, -ECONNREFUSED the API server does not
 * answer; -ECONNRESET cut; -EBADMSG any other answer, no WebSocket or no such protocol; -ENOMEM.
 */
_must_check_ int kube_stream_open(const struct kube *k, const struct kube_stream_config *config,
				  struct kube_stream **ret);
struct kube_stream *kube_stream_close(struct kube_stream *s);
DEFINE_CLEANUP(struct kube_stream *, kube_stream_close);

/** kube_stream_send() - in as many messages as it takes. Return: 0; -errno as above. */
_must_check_ int kube_stream_send(struct kube_stream *s, uint8_t channel, const void *data,
				  size_t len);
/** kube_stream_turn() - wait for some of it. Return: 1; 0 it has ended; -errno as above. */
_must_check_ int kube_stream_turn(struct kube_stream *s);
/** kube_stream_say() - a sentence into @c->err. Return: @error. */
int kube_stream_say(const struct kube_stream_config *c, int error, const char *what);

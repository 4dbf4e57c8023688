/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_forward - an HTTP request to a port inside a pod, by the API server's port-forward
 * (kube_stream), which reaches what listens on loopback there. Blocking. */
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "kube.h"

#define KUBE_FORWARD_ANSWER_MAX (256u << 20)
#define KUBE_FORWARD_TIMEOUT_US (20 * 1000000ull)

/** struct kube_forward - what to ask; borrowed. */
struct kube_forward {
	const char *namespace_, *pod;
	uint16_t port;
	const char *method, *target;
};

/**
 * kube_forward() - ask it and wait for the whole answer
 * @body: receives it; zero it before use.
 * @err:  a sentence when there is none.
 * Return: the HTTP status; -EPIPE the pod was reached, its port was not or said nothing whole;
 * -EBADMSG also an answer that is no HTTP; else as kube_stream_open().
 */
_must_check_ int kube_forward(const struct kube *k, const struct kube_forward *what,
			      struct buf *body, char *err, size_t err_size);

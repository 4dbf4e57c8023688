/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_exec - a command in a container, by the API server's exec (kube_stream). Blocking. */
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "kube.h"

#define KUBE_EXEC_OUTPUT_MAX (256u << 20)
#define KUBE_EXEC_TIMEOUT_US (30 * 1000000ull)

/** struct kube_exec - what to run; borrowed. */
struct kube_exec {
	const char *namespace_, *pod, *container;
	const char *const *command; /* NULL-ended */
	uint64_t timeout_us;        /* of silence; 0: KUBE_EXEC_TIMEOUT_US */
};

/** struct kube_exec_result - zero it before use; both are the caller's to reset. */
struct kube_exec_result {
	struct buf out, err;
	int code; /* how it ended */
};

/**
 * kube_exec() - run it and wait for its end
 * @err: a sentence when there is no result.
 * Return: 0, also when the command failed: see code; -EACCES, -ENOENT, -ETIMEDOUT, -ECONNREFUSED;
 * -ECONNRESET cut; -EBADMSG no WebSocket or no such protocol; -ENOMEM.
 */
_must_check_ int kube_exec(const struct kube *k, const struct kube_exec *what,
			   struct kube_exec_result *ret, char *err, size_t err_size);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* gate - lets calls through whose bearer token the API server knows (TokenReview), and says whose
 * it is. A caller that is refused learns no more than that. Owner: control. Thread: its loop. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "http/grpc.h"
#include "source/kube_client.h"

#define GATE_AUDIENCE "istio-ca"

struct gate; /* opaque */

/** struct caller - who a token is of. "" when the token is not bound to a pod. */
struct caller {
	char namespace_[64];
	char account[254];
	char pod[254];
	char pod_uid[64];
};

struct gate_config {
	struct loop *loop;        /* borrowed */
	struct kube_client *kube; /* borrowed */
	/** is_xds_allowed() - may it see the whole mesh? */
	bool (*is_xds_allowed)(void *arg, const struct caller *caller);
	/** xds_shut() - why nobody sees it just now; NULL: they do. Asked first: whether a token is
	 * good matters to nobody then. */
	const char *(*xds_shut)(void *arg);
	void *arg;
};

_must_check_ int gate_new(const struct gate_config *config, struct gate **ret);
/** gate_free() - after the gRPC server that serves its methods. Takes NULL. Return: NULL. */
struct gate *gate_free(struct gate *g);
DEFINE_CLEANUP(struct gate *, gate_free);

/** gate_method() - @inner behind the gate: its on_open comes once the caller is known, with
 * peer->caller set. @is_xds: is_xds_allowed() is asked, too. At most GATE_METHODS_MAX of them. */
#define GATE_METHODS_MAX 4
struct grpc_method gate_method(struct gate *g, const struct grpc_method *inner, bool is_xds);

/** gate_strangers() - calls refused so far because of who asked, or of whom nobody knows; @is_xds:
 * as with gate_method(). */
size_t gate_strangers(const struct gate *g, bool is_xds);

/** gate_caller_read() - the answer of a TokenReview. Return: 0; -EACCES not authenticated, for
 * another audience, or no service account. */
_must_check_ int gate_caller_read(const char *body, size_t len, struct caller *ret);

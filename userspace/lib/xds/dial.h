/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dial - where the control plane is and how to speak to it: a UNIX socket on this machine, or TLS
 * with a bearer token. No state of its own. */
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "http/grpc.h"

/** struct dial_target - one of @path and @address. */
struct dial_target {
	const char *path;        /* UNIX stream socket */
	const char *address;     /* "istiod.istio-system.svc:15012", "https://..." too */
	const char *root_file;   /* PEM of whom to trust; NULL or "SYSTEM": the system's */
	const char *server_name; /* in the server's certificate; NULL: the host of @address */
	const char *token_file;  /* bearer token, read anew for each call; NULL: none */
	const char *cluster_id;  /* sent along; NULL: not */
};

/** dial_target_copy() - all strings. Return: 0; -EINVAL neither path nor address, an address
 * without port, or a path too long for a socket; -ENOMEM. */
_must_check_ int dial_target_copy(const struct dial_target *from, struct dial_target *ret);
/** dial_target_clear() - free a copy. */
void dial_target_clear(struct dial_target *t);

/**
 * dial() - connect. Names are looked up and connections made in the loop: calls may be made at
 * once, and fail if that fails: at each address of the name, one after the other, 5 s for each.
 * @target: borrowed, must outlive the client. Others: as grpc_client_new().
 * Return: 0; -errno of a local socket; -ENOMEM.
 */
_must_check_ int dial(struct loop *loop, const struct dial_target *target,
		      void (*on_closed)(void *arg, int error), void *arg, struct grpc_client **ret);

/** struct dial_credentials - metadata of a call. Zero it before use. */
struct dial_credentials {
	struct grpc_metadata metadata[2];
	size_t n;
	char *bearer;
};

/** dial_credentials_read() - the token as it is now. Return: 0; -errno of its file; -ENOMEM. */
_must_check_ int dial_credentials_read(const struct dial_target *target,
				       struct dial_credentials *ret);
void dial_credentials_clear(struct dial_credentials *c);

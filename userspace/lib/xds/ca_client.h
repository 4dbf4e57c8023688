/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ca_client - asks the control plane's CA (istio.v1.auth.IstioCertificateService) for certificates.
 * Owner: a daemon; thread: its loop. Connects on first use and again after a failure; retrying is
 * the caller's business. */
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "xds/dial.h"

struct ca_client; /* opaque */

/**
 * ca_client_cb - the answer to one request, called exactly once from the loop, never from inside
 * ca_client_sign().
 * @error:   0; -EACCES refused; -ETIMEDOUT; -ECONNREFUSED and kin no control plane; -EBADMSG a
 * malformed answer.
 * @message: a sentence about the error; "" on success. Borrowed.
 * @chain:   PEM strings: leaf, intermediates, and last the bundle of roots; borrowed. NULL on
 * failure.
 * @n:       number of them, >= 2; 0 on failure.
 */
typedef void (*ca_client_cb)(void *arg, int error, const char *message, const char *const *chain,
			     size_t n);

/** ca_client_new() - @target is copied. Nothing is opened yet. Return: 0; -EINVAL; -ENOMEM. */
_must_check_ int ca_client_new(struct loop *loop, const struct dial_target *target,
			       struct ca_client **ret);
/** ca_client_free() - open requests are forgotten: their callbacks are not called. Takes NULL.
 * Return: NULL. */
struct ca_client *ca_client_free(struct ca_client *c);
DEFINE_CLEANUP(struct ca_client *, ca_client_free);

/**
 * ca_client_sign() - ask for a certificate, deadline 10 s.
 * @spiffe:  identity wanted ("spiffe://td/ns/n/sa/s"), sent as ImpersonatedIdentity; copied.
 * @csr_pem: the request (tls/key.h); copied.
 * Return: 0, @cb will be called; -EINVAL no SPIFFE ID; -ENOBUFS too many open requests; -ENOMEM.
 */
_must_check_ int ca_client_sign(struct ca_client *c, const char *spiffe, const char *csr_pem,
				ca_client_cb cb, void *arg);
/** ca_client_cancel() - forget every open request that was made with @arg. */
void ca_client_cancel(struct ca_client *c, const void *arg);

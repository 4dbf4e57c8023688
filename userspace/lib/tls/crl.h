/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* crl - certificate revocation lists, replaced while connections look at them. A certificate whose
 * issuer has no list here is good. Lists do not grow old: what was revoked stays revoked. Any
 * thread. */
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct tls_crl; /* opaque */
struct tls_identity;

/** tls_crl_new() - no list yet: nothing is revoked. Return: 0; -ENOMEM. */
_must_check_ int tls_crl_new(struct tls_crl **ret);
/** tls_crl_free() - after every connection that was made with it. Takes NULL. Return: NULL. */
struct tls_crl *tls_crl_free(struct tls_crl *c);
DEFINE_CLEANUP(struct tls_crl *, tls_crl_free);

/**
 * tls_crl_load() - these lists instead of those before
 * @pem: one or more X509 CRLs.
 * @ret_count: revoked certificates in all of them.
 * Return: 0; -EBADMSG none, or one that cannot be read: those before stay; -ENOMEM.
 */
_must_check_ int tls_crl_load(struct tls_crl *c, const char *pem, size_t len, size_t *ret_count);

/** tls_crl_has_revoked() - is any of a verified chain (leaf first) revoked by its issuer? */
bool tls_crl_has_revoked(struct tls_crl *c, STACK_OF(X509) * chain);

/** tls_crl_use() - connections made from @id from now on refuse what is revoked. @c is borrowed for
 * as long as they live. Return: 0; -ENOMEM. */
_must_check_ int tls_crl_use(struct tls_crl *c, const struct tls_identity *id);
/** tls_crl_of() - Return: the lists of a context; NULL: none. */
struct tls_crl *tls_crl_of(const SSL_CTX *ctx);
/** tls_crl_is_peer_revoked() - after a change: would the peer of this connection still be let in?
 */
bool tls_crl_is_peer_revoked(const SSL *ssl);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* trust - who is let in beyond what a certificate's chain says: revocation lists, and the other
 * names that our trust domain goes by (trustDomainAliases). Both are replaced while connections
 * look at them. A certificate whose issuer has no list here is good. Lists do not grow old: what
 * was revoked stays revoked. Any thread. */
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define TRUST_DOMAINS_MAX 64

struct tls_identity;
struct tls_trust; /* opaque */

/** tls_trust_new() - nothing is revoked, no other names. Return: 0; -ENOMEM. */
_must_check_ int tls_trust_new(struct tls_trust **ret);
/** tls_trust_free() - after every connection that was made with it. Takes NULL. Return: NULL. */
struct tls_trust *tls_trust_free(struct tls_trust *t);
DEFINE_CLEANUP(struct tls_trust *, tls_trust_free);

/**
 * tls_trust_load_crl() - these lists instead of those before
 * @pem: one or more X509 CRLs.
 * @ret_count: revoked certificates in all of them.
 * Return: 0; -EBADMSG none, or one that cannot be read: those before stay; -ENOMEM.
 */
_must_check_ int tls_trust_load_crl(struct tls_trust *t, const char *pem, size_t len,
				    size_t *ret_count);

/**
 * tls_trust_set_domains() - these names instead of those before
 * @names: trust domains that count as the same as an identity's own; copied.
 * Return: 0; -EINVAL more than TRUST_DOMAINS_MAX: those before stay; -ENOMEM.
 */
_must_check_ int tls_trust_set_domains(struct tls_trust *t, const char *const *names, size_t n);

/** tls_trust_has_revoked() - is any of a verified chain (leaf first) revoked by its issuer? */
bool tls_trust_has_revoked(struct tls_trust *t, STACK_OF(X509) * chain);
/** tls_trust_is_domain() - is it one of the other names? */
bool tls_trust_is_domain(struct tls_trust *t, const char *name);

/** tls_trust_use() - connections made from @id from now on go by it. @t is borrowed for as long as
 * they live. Return: 0; -ENOMEM. */
_must_check_ int tls_trust_use(struct tls_trust *t, const struct tls_identity *id);
/** tls_trust_of() - Return: that of a context; NULL: none. */
struct tls_trust *tls_trust_of(const SSL_CTX *ctx);

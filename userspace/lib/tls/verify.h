/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* verify - the rules that a peer's certificate must meet. Used by identity.c. Any thread; no state
 * of its own. */
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "tls/spiffe.h"

static inline void tls_certs_free(STACK_OF(X509) * s)
{
	sk_X509_pop_free(s, X509_free);
}
DEFINE_CLEANUP(STACK_OF(X509) *, tls_certs_free);

/**
 * tls_certificate_spiffe() - the one SPIFFE ID of a certificate. SPIFFE X509-SVID, section 2:
 * "exactly one URI SAN", so a second one is refused, and so is a NUL byte in it. Return: 0;
 * -EBADMSG.
 */
_must_check_ int tls_certificate_spiffe(const X509 *cert, char ret[SPIFFE_ID_SIZE],
					struct spiffe_id *ret_parts);

/** tls_verify_unexpected() - the peer that a client refused because nobody expected it. Return:
 * borrowed; "" when none. */
const char *tls_verify_unexpected(const SSL *ssl);

/** tls_store_trust() - chains may end at any of @roots, also at one that another has signed. Of
 * several with one name the one that signed is taken, not the first: CAs are renewed under the name
 * that they had. Return: 0; -ENOMEM. */
_must_check_ int tls_store_trust(X509_STORE *store, STACK_OF(X509) * roots);
/** tls_store_trust_intermediates() - what is in @store is trusted as a root is, also where another
 * has signed it, as Istio does: what a company hands out as its root may be an intermediate.
 * Return: 0; -ENOMEM. */
_must_check_ int tls_store_trust_intermediates(X509_STORE *store);

/** tls_verify_setup() - install the verification on a context. @trust_domain: copied. Return: 0;
 * -ENOMEM. */
_must_check_ int tls_verify_setup(SSL_CTX *ctx, const char *trust_domain, bool is_server);

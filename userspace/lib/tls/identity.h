/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* identity - a workload's key and certificate, ready to serve and to dial with. Immutable, shared
 * by reference count from any thread. TLS 1.3 only, ALPN h2, both sides present certificates, no
 * tickets, no resumption. */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "tls/spiffe.h"

struct tls_identity {
	unsigned int _refs;
	char *id;               /* "spiffe://td/ns/n/sa/s" */
	struct spiffe_id parts; /* the same, taken apart */
	SSL_CTX *server_ctx;    /* SSL_new() from it to accept; demands a certificate of our trust
				   domain */
	SSL_CTX *client_ctx; /* SSL_new() to dial, then tls_expect_identities(); without it no peer
				is accepted */
	char *chain_pem;     /* leaf and intermediates, one after the other */
	char *roots_pem;     /* the bundle of roots */
	char *serial;        /* of the leaf: hex, lower case */
	STACK_OF(X509) * _verified; /* leaf to root */
	time_t not_before;          /* of the leaf */
	time_t not_after;
};

/**
 * tls_identity_new() - build from what CreateCertificate returned.
 * @spiffe: identity that was asked for; the leaf must carry exactly it.
 * @key:    private key of the leaf; a reference is taken.
 * @chain:  PEM strings: leaf, intermediates, and last the bundle of roots; copied.
 * @n:      number of strings, 2..8.
 * Return: 0, one reference in @ret; -EINVAL @spiffe or @n; -EBADMSG a PEM, the leaf's SAN, or key
 * and leaf do not match; -EKEYREJECTED the leaf does not chain to the roots now; -ENOMEM.
 */
_must_check_ int tls_identity_new(const char *spiffe, EVP_PKEY *key, const char *const *chain,
				  size_t n, const struct tls_identity **ret);

/** tls_identity_ref() - one more reference; @id may not be NULL. Return: @id. */
const struct tls_identity *tls_identity_ref(const struct tls_identity *id);
/** tls_identity_unref() - drop one; the last frees. Takes NULL. Return: NULL. SSLs made from it may
 * live on. */
const struct tls_identity *tls_identity_unref(const struct tls_identity *id);
DEFINE_CLEANUP(const struct tls_identity *, tls_identity_unref);

/**
 * tls_expect_identities() - which servers this client connection accepts: the
 * peer's URI SAN is one of them, or would be under another name of our trust domain (trust.h).
 * @ids: copied; at most 64, each a SPIFFE ID. Call before the handshake, once or more (the last
 * call counts). Return: 0; -EINVAL none, too many, or malformed; -ENOMEM.
 */
_must_check_ int tls_expect_identities(SSL *ssl, const char *const *ids, size_t n);

/**
 * tls_peer_identity() - the verified peer's SPIFFE ID, after the handshake.
 * @ret: of SPIFFE_ID_SIZE bytes or more.
 * Return: 0; -ENOENT no certificate; -EBADMSG not verified or no SPIFFE ID; -ENOBUFS.
 */
_must_check_ int tls_peer_identity(const SSL *ssl, char *ret, size_t size);

#define TLS_PEER_REVOKED "closed: the peer's certificate has been revoked"
/**
 * tls_peer_refusal() - would the peer of this open connection still be let in? See trust.h.
 * @ret_text: why not; static, set only then.
 * Return: 0 it would; -EKEYREVOKED revoked since; -EKEYREJECTED its trust domain is no longer ours.
 */
_must_check_ int tls_peer_refusal(const SSL *ssl, const char **ret_text);
/** tls_identity_is_revoked() - is its own certificate on a list of the trust that it uses? */
bool tls_identity_is_revoked(const struct tls_identity *id);

/** tls_error_text() - why the handshake of @ssl failed ("certificate verify failed: identity ... is
 * not expected"). Empties the thread's OpenSSL error queue. Return: @ret. */
const char *tls_error_text(const SSL *ssl, char *ret, size_t size);

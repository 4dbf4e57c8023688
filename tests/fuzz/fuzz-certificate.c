/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-certificate - revocation lists, certificates of peers, requests for one, and peers that
 * shake hands. First byte: which. */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "tests/fuzz/fuzz-keys.h"
#include "tests/fuzz/fuzz.h"
#include "tls/identity.h"
#include "tls/key.h"
#include "tls/trust.h"
#include "tls/verify.h"
#include "userspace/control/ca.h"

#define TEXT_MAX_LEN 32768
#define ROUNDS       6

DEFINE_CLEANUP(SSL_CTX *, SSL_CTX_free);

static struct ca *ca;
static struct tls_trust *trust;
static EVP_PKEY *root_key, *leaf_key;
static const struct tls_identity *identity; /* ours, FUZZ_ID */

static void ca_start(void)
{
	struct ca_material m = {.key = fuzz_key(fuzz_root_key),
				.cert = fuzz_root(),
				.chain = sk_X509_new_null(),
				.roots = sk_X509_new_null()};
	char err[256];

	if (!m.chain || !m.roots || !sk_X509_push(m.roots, fuzz_root()) ||
	    ca_new(&m, &ca, err, sizeof(err)) < 0)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	_cleanup_(freep) char *csr = NULL;
	struct ca_chain chain = {0};

	ca_start();
	root_key = fuzz_key(fuzz_root_key);
	leaf_key = fuzz_key(fuzz_leaf_key);
	if (tls_trust_new(&trust) < 0 || tls_csr_new(leaf_key, FUZZ_ID, &csr) < 0 ||
	    ca_sign(ca, csr, FUZZ_ID, 0, &chain) < 0 ||
	    tls_identity_new(FUZZ_ID, leaf_key, (const char *const *)chain.pem, chain.n,
			     &identity) < 0)
		abort();
	ca_chain_clear(&chain);
	return 0;
}

static void fuzz_crl(const uint8_t *data, size_t size)
{
	size_t count;

	(void)!tls_trust_load_crl(trust, (const char *)data, size, &count);
}

static void fuzz_peer(const uint8_t *data, size_t size)
{
	char text[SPIFFE_ID_SIZE];
	const uint8_t *p = data;
	struct spiffe_id id;
	X509 *cert = d2i_X509(NULL, &p, (long)size);

	if (cert && tls_certificate_spiffe(cert, text, &id) == 0 && strlen(text) >= sizeof(text))
		abort();
	X509_free(cert);
}

static void fuzz_request(const uint8_t *data, size_t size)
{
	struct ca_chain chain = {0};
	char text[TEXT_MAX_LEN];

	if (size >= sizeof(text))
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	if (ca_sign(ca, text, "spiffe://cluster.local/ns/a/sa/b", 0, &chain) == 0)
		ca_chain_clear(&chain);
}

/* A CA of ours may be brought to sign what it should not have: the leaf as it is, but for the key
 * that the peer must have. The certificates behind it go along. Return: NULL: no leaf. */
static SSL_CTX *peer_new(bool is_server, const uint8_t *data, size_t size)
{
	_cleanup_(SSL_CTX_freep) SSL_CTX *ctx =
		SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
	const uint8_t *p = data, *end = data + size;
	_cleanup_(X509_freep) X509 *leaf = d2i_X509(NULL, &p, (long)size);
	X509 *more;

	if (!ctx || !leaf || !X509_set_pubkey(leaf, leaf_key) ||
	    X509_sign(leaf, root_key, EVP_sha256()) <= 0 ||
	    SSL_CTX_use_certificate(ctx, leaf) != 1 || SSL_CTX_use_PrivateKey(ctx, leaf_key) != 1)
		return NULL;
	while (p < end && (more = d2i_X509(NULL, &p, end - p)))
		if (!SSL_CTX_add0_chain_cert(ctx, more))
			X509_free(more);
	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
	(void)SSL_CTX_set_alpn_protos(ctx, (const uint8_t *)"\2h2", 3);
	return TAKE_PTR(ctx);
}

/* Whom we take is of our trust domain, and as a server who was expected. */
static void check_peer(SSL *ours, bool is_ours)
{
	char text[SPIFFE_ID_SIZE], why[256];
	const char *refusal;
	struct spiffe_id id;

	if (!is_ours) {
		(void)tls_error_text(ours, why, sizeof(why));
		return;
	}
	if (tls_peer_identity(ours, text, sizeof(text)) < 0 || spiffe_parse(text, &id) < 0 ||
	    !streq(id.trust_domain, "cluster.local") || tls_peer_refusal(ours, &refusal) < 0 ||
	    (!SSL_is_server(ours) && !streq(text, FUZZ_ID)))
		abort();
}

static void shake(SSL *ours, SSL *theirs)
{
	int us = 0;
	BIO *a, *b;

	if (!BIO_new_bio_pair(&a, 0, &b, 0))
		abort();
	SSL_set_bio(ours, a, a);
	SSL_set_bio(theirs, b, b);
	for (int i = 0; i < ROUNDS && us != 1; i++) {
		(void)SSL_do_handshake(theirs);
		us = SSL_do_handshake(ours);
	}
	check_peer(ours, us == 1);
}

static void fuzz_handshake(bool is_server, const uint8_t *data, size_t size)
{
	_cleanup_(SSL_CTX_freep) SSL_CTX *peer = peer_new(!is_server, data, size);
	const char *expected = FUZZ_ID;
	SSL *ours, *theirs;

	if (!peer)
		return;
	ours = SSL_new(is_server ? identity->server_ctx : identity->client_ctx);
	theirs = SSL_new(peer);
	if (!ours || !theirs || (!is_server && tls_expect_identities(ours, &expected, 1) < 0))
		abort();
	if (is_server) {
		SSL_set_accept_state(ours);
		SSL_set_connect_state(theirs);
	} else {
		SSL_set_connect_state(ours);
		SSL_set_accept_state(theirs);
	}
	shake(ours, theirs);
	SSL_free(ours);
	SSL_free(theirs);
}

static void fuzz_client(const uint8_t *data, size_t size)
{
	fuzz_handshake(true, data, size);
}

static void fuzz_server(const uint8_t *data, size_t size)
{
	fuzz_handshake(false, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *, size_t) = {
		fuzz_crl, fuzz_peer, fuzz_request, fuzz_client, fuzz_server};

	if (size > 0)
		targets[data[0] % ARRAY_SIZE(targets)](data + 1, size - 1);
	ERR_clear_error();
	return 0;
}

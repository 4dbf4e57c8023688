/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/verify.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tls/trust.h"
#include "tls/identity.h"

#define EXPECT_MAX 64
#define RSA_BITS_MAX                                                                               \
	4096 /* a verification with a longer key costs the attacked side milliseconds */
#define CHAIN_CERTS_MAX 6
#define CHAIN_BYTES_MAX (32 * 1024)
#define SAN_NAMES_MAX   64

/* What hangs on a client's SSL: the peers that it accepts. */
struct expected {
	char seen[SPIFFE_ID_SIZE]; /* who came instead; "" before that */
	size_t n;
	char ids[][SPIFFE_ID_SIZE];
};

static pthread_once_t indices_once = PTHREAD_ONCE_INIT;
static int expected_index = -1;     /* of SSL: struct expected */
static int trust_domain_index = -1; /* of SSL_CTX: string */

/* Of both kinds of data: plain memory. */
/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static void data_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	free(ptr);
}

static void indices_make(void)
{
	expected_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, data_free);
	trust_domain_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, data_free);
}

static void names_free(GENERAL_NAMES *names)
{
	GENERAL_NAMES_free(names);
}
DEFINE_CLEANUP(GENERAL_NAMES *, names_free);

static int uri_copy(const ASN1_IA5STRING *uri, char ret[SPIFFE_ID_SIZE])
{
	int n = ASN1_STRING_length(uri);
	const unsigned char *p = ASN1_STRING_get0_data(uri);

	if (n <= 0 || n >= SPIFFE_ID_SIZE || memchr(p, '\0', (size_t)n))
		return -EBADMSG;
	memcpy(ret, p, (size_t)n);
	ret[n] = '\0';
	return 0;
}

int tls_certificate_spiffe(const X509 *cert, char ret[SPIFFE_ID_SIZE], struct spiffe_id *ret_parts)
{
	_cleanup_(names_freep) GENERAL_NAMES *names = NULL;
	const GENERAL_NAME *uri = NULL;
	char id[SPIFFE_ID_SIZE];

	names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	if (!names || sk_GENERAL_NAME_num(names) > SAN_NAMES_MAX)
		return -EBADMSG;
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_URI)
			continue;
		if (uri)
			return -EBADMSG;
		uri = name;
	}
	if (!uri || uri_copy(uri->d.uniformResourceIdentifier, id) < 0 ||
	    spiffe_parse(id, ret_parts) < 0)
		return -EBADMSG;
	memcpy(ret, id, sizeof(id));
	return 0;
}

/* OpenSSL's get_issuer. Return: 1 found, one reference; 0 none; -1 no memory. */
static int issuer_get(X509 **ret, X509_STORE_CTX *ctx, X509 *cert)
{
	_cleanup_(tls_certs_freep) STACK_OF(X509) *roots =
		X509_STORE_CTX_get1_certs(ctx, X509_get_issuer_name(cert));
	int n = sk_X509_num(roots);

	for (int i = 0; i < n; i++) {
		X509 *root = sk_X509_value(roots, i);

		if (X509_check_issued(root, cert) != X509_V_OK ||
		    (n > 1 && X509_verify(cert, X509_get0_pubkey(root)) != 1))
			continue;
		*ret = root;
		return X509_up_ref(root) ? 1 : -1;
	}
	return 0;
}

int tls_store_trust_intermediates(X509_STORE *store)
{
	return X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) ? 0 : -ENOMEM;
}

int tls_store_trust(X509_STORE *store, STACK_OF(X509) * roots)
{
	for (int i = 0; i < sk_X509_num(roots); i++)
		if (!X509_STORE_add_cert(store, sk_X509_value(roots, i)))
			return -ENOMEM;
	X509_STORE_set_get_issuer(store, issuer_get);
	return tls_store_trust_intermediates(store);
}

static bool is_cheap(X509_STORE_CTX *store_ctx)
{
	STACK_OF(X509) *certs = X509_STORE_CTX_get0_untrusted(store_ctx);

	if (sk_X509_num(certs) > CHAIN_CERTS_MAX)
		return false;
	for (int i = 0; i < sk_X509_num(certs); i++) {
		const EVP_PKEY *key = X509_get0_pubkey(sk_X509_value(certs, i));

		if (!key ||
		    (EVP_PKEY_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_bits(key) > RSA_BITS_MAX))
			return false;
	}
	return true;
}

/* @td: of @name, or a name that counts as the same. */
static bool is_domain(const SSL *ssl, const char *td, const char *name)
{
	struct tls_trust *trust = tls_trust_of(SSL_get_SSL_CTX(ssl));

	return streq(td, name) || (trust && tls_trust_is_domain(trust, name));
}

static const char *own_domain(const SSL *ssl)
{
	return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), trust_domain_index);
}

/* The same account under another name of our trust domain. */
static bool is_alias_of(const SSL *ssl, const char *expected, const struct spiffe_id *parts)
{
	const char *own = own_domain(ssl);
	struct spiffe_id e;

	return own && spiffe_parse(expected, &e) == 0 && streq(e.namespace_, parts->namespace_) &&
	       streq(e.service_account, parts->service_account) &&
	       is_domain(ssl, own, e.trust_domain) && is_domain(ssl, own, parts->trust_domain);
}

static bool is_expected(const SSL *ssl, const char *id, const struct spiffe_id *parts)
{
	struct expected *e = SSL_get_ex_data(ssl, expected_index);

	/* nobody said whom to expect: accept nobody */
	for (size_t i = 0; e && i < e->n; i++)
		if (streq(e->ids[i], id) || is_alias_of(ssl, e->ids[i], parts))
			return true;
	if (e)
		memcpy(e->seen, id, strlen(id) + 1);
	return false;
}

/* The leaf, once its chain holds. Return: an X509_V_ code. */
static int leaf_check(const SSL *ssl, const X509 *leaf)
{
	char id[SPIFFE_ID_SIZE];
	struct spiffe_id parts;
	bool is_good;

	if (!leaf || tls_certificate_spiffe(leaf, id, &parts) < 0)
		return X509_V_ERR_APPLICATION_VERIFICATION;
	if (SSL_is_server(ssl))
		is_good = own_domain(ssl) && is_domain(ssl, own_domain(ssl), parts.trust_domain);
	else
		is_good = is_expected(ssl, id, &parts);
	return is_good ? X509_V_OK : X509_V_ERR_HOSTNAME_MISMATCH;
}

/* What may change while a connection is open. Return: an X509_V_ code. */
static int trust_check(const SSL *ssl, STACK_OF(X509) * chain)
{
	struct tls_trust *trust = tls_trust_of(SSL_get_SSL_CTX(ssl));

	return trust && tls_trust_has_revoked(trust, chain)
		       ? X509_V_ERR_CERT_REVOKED
		       : leaf_check(ssl, sk_X509_value(chain, 0));
}

int tls_peer_refusal(const SSL *ssl, const char **ret_text)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	int code = chain ? trust_check(ssl, chain) : X509_V_OK;

	if (code == X509_V_OK)
		return 0;
	if (code == X509_V_ERR_CERT_REVOKED) {
		*ret_text = TLS_PEER_REVOKED;
		return -EKEYREVOKED;
	}
	*ret_text = "closed: the peer's trust domain is no longer accepted";
	return -EKEYREJECTED;
}

static int on_verify(X509_STORE_CTX *store_ctx, void *arg)
{
	const SSL *ssl =
		X509_STORE_CTX_get_ex_data(store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	int code;

	if (!ssl || !is_cheap(store_ctx)) {
		X509_STORE_CTX_set_error(store_ctx, X509_V_ERR_CERT_CHAIN_TOO_LONG);
		return 0;
	}
	if (X509_verify_cert(store_ctx) != 1) {
		if (X509_STORE_CTX_get_error(store_ctx) == X509_V_OK)
			X509_STORE_CTX_set_error(store_ctx, X509_V_ERR_UNSPECIFIED);
		return 0;
	}
	code = trust_check(ssl, X509_STORE_CTX_get0_chain(store_ctx));
	X509_STORE_CTX_set_error(store_ctx, code);
	return code == X509_V_OK;
}

int tls_verify_setup(SSL_CTX *ctx, const char *trust_domain, bool is_server)
{
	_cleanup_(freep) char *copy = NULL;

	(void)pthread_once(&indices_once, indices_make);
	if (expected_index < 0 || trust_domain_index < 0)
		return -ENOMEM;
	/* a copy: a handshake may outlive the identity that the context came from */
	copy = strdup(trust_domain);
	if (!copy || !SSL_CTX_set_ex_data(ctx, trust_domain_index, copy))
		return -ENOMEM;
	(void)TAKE_PTR(copy);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, on_verify, NULL);
	SSL_CTX_set_verify_depth(ctx, CHAIN_CERTS_MAX);
	SSL_CTX_set_max_cert_list(ctx, CHAIN_BYTES_MAX);
	/* extended key usage: a leaf made for clients only must not serve, nor the other way round
	 */
	SSL_CTX_set_purpose(ctx, is_server ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER);
	return 0;
}

int tls_expect_identities(SSL *ssl, const char *const *ids, size_t n)
{
	_cleanup_(freep) struct expected *e = NULL;
	struct spiffe_id parts;
	void *old;

	if (n == 0 || n > EXPECT_MAX)
		return -EINVAL;
	e = calloc(1, sizeof(*e) + n * sizeof(e->ids[0]));
	if (!e)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (spiffe_parse(ids[i], &parts) < 0)
			return -EINVAL;
		memcpy(e->ids[i], ids[i], strlen(ids[i]) + 1);
	}
	e->n = n;
	old = SSL_get_ex_data(ssl, expected_index);
	if (!SSL_set_ex_data(ssl, expected_index, e))
		return -ENOMEM;
	free(old);
	(void)TAKE_PTR(e);
	return 0;
}

const char *tls_verify_unexpected(const SSL *ssl)
{
	const struct expected *e = SSL_get_ex_data(ssl, expected_index);

	return e ? e->seen : "";
}

int tls_peer_identity(const SSL *ssl, char *ret, size_t size)
{
	const X509 *cert = SSL_get0_peer_certificate(ssl);
	char id[SPIFFE_ID_SIZE];
	struct spiffe_id parts;

	if (!cert)
		return -ENOENT;
	if (SSL_get_verify_result(ssl) != X509_V_OK || tls_certificate_spiffe(cert, id, &parts) < 0)
		return -EBADMSG;
	if (strlen(id) >= size)
		return -ENOBUFS;
	memcpy(ret, id, strlen(id) + 1);
	return 0;
}

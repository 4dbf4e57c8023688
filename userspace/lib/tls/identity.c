/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/identity.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tls/gcm.h"
#include "tls/trust.h"
#include "tls/verify.h"

#define STRINGS_MAX   8
#define PEM_BYTES_MAX (256 * 1024)
#define CERTS_MAX     32

DEFINE_CLEANUP(X509_STORE_CTX *, X509_STORE_CTX_free);
DEFINE_CLEANUP(SSL_CTX *, SSL_CTX_free);

static void identity_free(struct tls_identity *id)
{
	SSL_CTX_free(id->server_ctx);
	SSL_CTX_free(id->client_ctx);
	tls_certs_free(id->_verified);
	OPENSSL_free(id->serial);
	free(id->id);
	free(id->chain_pem);
	free(id->roots_pem);
	free(id);
}
DEFINE_CLEANUP(struct tls_identity *, identity_free);

/* Every certificate of a PEM text, appended. Anything between them is ignored, as everybody does.
 */
static int certs_read(const char *pem, STACK_OF(X509) * into)
{
	size_t len = strnlen(pem, PEM_BYTES_MAX + 1);
	int before = sk_X509_num(into);
	BIO *bio;
	X509 *cert;

	if (len > PEM_BYTES_MAX)
		return -EBADMSG;
	bio = BIO_new_mem_buf(pem, (int)len);
	if (!bio)
		return -ENOMEM;
	ERR_clear_error();
	while (sk_X509_num(into) < CERTS_MAX &&
	       (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		if (!sk_X509_push(into, cert))
			X509_free(cert);
	BIO_free(bio);
	/* the reader ends with NO_START_LINE; any other reason is a certificate that does not parse
	 */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE ||
	    sk_X509_num(into) == before)
		return -EBADMSG;
	ERR_clear_error();
	return 0;
}

static int contexts_limit(SSL_CTX *ctx)
{
	static const unsigned char alpn[] = {2, 'h', '2'};

	if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384") ||
	    !SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") ||
	    SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn)) != 0)
		return -EIO;
	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return 0;
}

static int on_alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_len,
			  const unsigned char *in, unsigned int in_len, void *arg)
{
	for (unsigned int i = 0; i < in_len && i + in[i] < in_len; i += 1u + in[i])
		if (in[i] == 2 && memcmp(in + i + 1, "h2", 2) == 0) {
			*out = in + i + 1;
			*out_len = 2;
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int context_use(SSL_CTX *ctx, EVP_PKEY *key, STACK_OF(X509) * chain, STACK_OF(X509) * roots)
{
	if (!SSL_CTX_use_certificate(ctx, sk_X509_value(chain, 0)) ||
	    !SSL_CTX_use_PrivateKey(ctx, key) || !SSL_CTX_check_private_key(ctx))
		return -EBADMSG;
	for (int i = 1; i < sk_X509_num(chain); i++)
		if (!SSL_CTX_add1_chain_cert(ctx, sk_X509_value(chain, i)))
			return -ENOMEM;
	/* the chain is what we were given: OpenSSL would add the root to it otherwise */
	SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
	return tls_store_trust(SSL_CTX_get_cert_store(ctx), roots);
}

static int context_new(const struct tls_identity *id, EVP_PKEY *key, STACK_OF(X509) * chain,
		       STACK_OF(X509) * roots, SSL_CTX **ret)
{
	bool is_server = ret == &id->server_ctx;
	_cleanup_(SSL_CTX_freep) SSL_CTX *ctx = NULL;
	int r;

	ctx = SSL_CTX_new_ex(NULL, tls_gcm_query(),
			     is_server ? TLS_server_method() : TLS_client_method());
	if (!ctx)
		return -ENOMEM;
	r = contexts_limit(ctx);
	if (r < 0)
		return r;
	if (is_server)
		SSL_CTX_set_alpn_select_cb(ctx, on_alpn_select, NULL);
	r = context_use(ctx, key, chain, roots);
	if (r < 0)
		return r;
	r = tls_verify_setup(ctx, id->parts.trust_domain, is_server);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(ctx);
	return 0;
}

static int chain_verify(STACK_OF(X509) * chain, SSL_CTX *ctx, STACK_OF(X509) * *ret)
{
	_cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *store_ctx = X509_STORE_CTX_new();

	if (!store_ctx || !X509_STORE_CTX_init(store_ctx, SSL_CTX_get_cert_store(ctx),
					       sk_X509_value(chain, 0), chain))
		return -ENOMEM;
	if (X509_verify_cert(store_ctx) != 1)
		return -EKEYREJECTED;
	*ret = X509_STORE_CTX_get1_chain(store_ctx);
	return *ret ? 0 : -ENOMEM;
}

static int texts_copy(struct tls_identity *id, const char *const *chain, size_t n)
{
	_cleanup_(buf_resetp) struct buf b = {.limit = PEM_BYTES_MAX};
	int r = 0;

	for (size_t i = 0; r == 0 && i + 1 < n; i++) {
		r = buf_append_str(&b, chain[i]);
		if (r == 0 && chain[i][0] && chain[i][strlen(chain[i]) - 1] != '\n')
			r = buf_append_str(&b, "\n");
	}
	if (r < 0)
		return r;
	id->chain_pem = strndup((const char *)buf_head(&b), buf_len(&b));
	id->roots_pem = strdup(chain[n - 1]);
	return id->chain_pem && id->roots_pem ? 0 : -ENOMEM;
}

static int time_read(const ASN1_TIME *t, time_t *ret)
{
	struct tm tm;

	if (!ASN1_TIME_to_tm(t, &tm))
		return -EBADMSG;
	*ret = timegm(&tm);
	return 0;
}

static int leaf_read(struct tls_identity *id, const X509 *leaf)
{
	char text[SPIFFE_ID_SIZE];
	BIGNUM *bn;

	if (tls_certificate_spiffe(leaf, text, &id->parts) < 0 || !streq(text, id->id))
		return -EBADMSG;
	if (time_read(X509_get0_notBefore(leaf), &id->not_before) < 0 ||
	    time_read(X509_get0_notAfter(leaf), &id->not_after) < 0)
		return -EBADMSG;
	bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), NULL);
	id->serial = bn ? BN_bn2hex(bn) : NULL;
	BN_free(bn);
	if (!id->serial)
		return -ENOMEM;
	for (char *p = id->serial; *p; p++)
		if (*p >= 'A' && *p <= 'F')
			*p = (char)(*p - 'A' + 'a');
	return 0;
}

static int identity_fill(struct tls_identity *id, EVP_PKEY *key, const char *const *chain, size_t n)
{
	_cleanup_(tls_certs_freep) STACK_OF(X509) *certs = sk_X509_new_null();
	_cleanup_(tls_certs_freep) STACK_OF(X509) *roots = sk_X509_new_null();
	int r = certs && roots ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i + 1 < n; i++)
		r = certs_read(chain[i], certs);
	if (r == 0)
		r = certs_read(chain[n - 1], roots);
	if (r == 0)
		r = leaf_read(id, sk_X509_value(certs, 0));
	if (r == 0)
		r = context_new(id, key, certs, roots, &id->server_ctx);
	if (r == 0)
		r = context_new(id, key, certs, roots, &id->client_ctx);
	if (r == 0)
		r = chain_verify(certs, id->server_ctx, &id->_verified);
	return r < 0 ? r : texts_copy(id, chain, n);
}

int tls_identity_new(const char *spiffe, EVP_PKEY *key, const char *const *chain, size_t n,
		     const struct tls_identity **ret)
{
	_cleanup_(identity_freep) struct tls_identity *id = NULL;
	struct spiffe_id parts;
	int r;

	if (n < 2 || n > STRINGS_MAX || spiffe_parse(spiffe, &parts) < 0)
		return -EINVAL;
	id = calloc(1, sizeof(*id));
	if (!id)
		return -ENOMEM;
	id->_refs = 1;
	id->id = strdup(spiffe);
	r = id->id ? identity_fill(id, key, chain, n) : -ENOMEM;
	ERR_clear_error();
	if (r < 0)
		return r;
	*ret = TAKE_PTR(id);
	return 0;
}

const struct tls_identity *tls_identity_ref(const struct tls_identity *id)
{
	struct tls_identity *mutable = (struct tls_identity *)id;

	(void)__atomic_fetch_add(&mutable->_refs, 1, __ATOMIC_RELAXED);
	return id;
}

const struct tls_identity *tls_identity_unref(const struct tls_identity *id)
{
	struct tls_identity *mutable = (struct tls_identity *)id;

	if (mutable && __atomic_fetch_sub(&mutable->_refs, 1, __ATOMIC_ACQ_REL) == 1)
		identity_free(mutable);
	return NULL;
}

bool tls_identity_is_revoked(const struct tls_identity *id)
{
	struct tls_trust *t = tls_trust_of(id->server_ctx);

	return t && tls_trust_has_revoked(t, id->_verified);
}

const char *tls_error_text(const SSL *ssl, char *ret, size_t size)
{
	long verify = SSL_get_verify_result(ssl);
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (verify == X509_V_ERR_HOSTNAME_MISMATCH && SSL_is_server((SSL *)ssl))
		(void)snprintf(ret, size,
			       "certificate verify failed: the peer is of another trust domain");
	else if (verify == X509_V_ERR_HOSTNAME_MISMATCH)
		(void)snprintf(
			ret, size,
			"certificate verify failed: identity %s is not one that was expected",
			tls_verify_unexpected(ssl));
	else if (verify == X509_V_ERR_APPLICATION_VERIFICATION)
		(void)snprintf(ret, size, "certificate verify failed: the peer has no SPIFFE ID");
	else if (verify != X509_V_OK)
		(void)snprintf(ret, size, "certificate verify failed: %s",
			       X509_verify_cert_error_string(verify));
	else
		(void)snprintf(ret, size, "%s", reason ? reason : "connection closed");
	ERR_clear_error();
	return ret;
}

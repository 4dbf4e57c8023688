/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/hbone/certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tls/identity.h"
#include "tls/key.h"

struct certs_root {
	EVP_PKEY *key;
	X509 *cert;
};

static X509 *certify(EVP_PKEY *key, EVP_PKEY *signer, X509 *issuer, const char *san)
{
	static long serial = 1;
	X509 *c = X509_new();
	X509V3_CTX ctx;
	const struct {
		int nid;
		const char *value;
	} exts[] = {
		{NID_basic_constraints, san ? "critical,CA:FALSE" : "critical,CA:TRUE"},
		{san ? NID_ext_key_usage : NID_key_usage,
		 san ? "serverAuth,clientAuth" : "critical,keyCertSign"},
		{NID_subject_alt_name, san},
	};

	(void)X509_set_version(c, X509_VERSION_3);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(c), serial++);
	(void)X509_gmtime_adj(X509_getm_notBefore(c), -60);
	(void)X509_gmtime_adj(X509_getm_notAfter(c), 86400);
	(void)X509_set_pubkey(c, key);
	(void)X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC,
					 (const unsigned char *)(issuer ? "leaf" : "root"), -1, -1,
					 0);
	(void)X509_set_issuer_name(c, X509_get_subject_name(issuer ? issuer : c));
	X509V3_set_ctx(&ctx, issuer ? issuer : c, c, NULL, NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(exts); i++) {
		X509_EXTENSION *e;

		if (!exts[i].value)
			continue;
		e = X509V3_EXT_conf_nid(NULL, &ctx, exts[i].nid, exts[i].value);
		assert_non_null(e);
		(void)X509_add_ext(c, e, -1);
		X509_EXTENSION_free(e);
	}
	assert_true(X509_sign(c, signer, EVP_sha256()) > 0);
	return c;
}

static char *pem_of(X509 *c)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long n;

	(void)PEM_write_bio_X509(bio, c);
	n = BIO_get_mem_data(bio, &data);
	text = strndup(data, (size_t)n);
	(void)BIO_free(bio);
	return text;
}

const struct tls_identity *certs_identity(const struct certs_root *root, const char *spiffe)
{
	char san[SPIFFE_ID_SIZE + 32];
	const struct tls_identity *id = NULL;
	EVP_PKEY *key = NULL;
	const char *chain[2];
	X509 *leaf;

	(void)snprintf(san, sizeof(san), "critical,URI:%s", spiffe);
	assert_int_equal(tls_key_new(&key), 0);
	leaf = certify(key, root->key, root->cert, san);
	chain[0] = pem_of(leaf);
	chain[1] = pem_of(root->cert);
	assert_int_equal(tls_identity_new(spiffe, key, chain, 2, &id), 0);
	free((void *)(uintptr_t)chain[0]);
	free((void *)(uintptr_t)chain[1]);
	X509_free(leaf);
	EVP_PKEY_free(key);
	return id;
}

char *certs_revoke(const struct certs_root *root, const struct tls_identity *id)
{
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	X509_REVOKED *entry = X509_REVOKED_new();
	X509_CRL *crl = X509_CRL_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long n;

	(void)X509_CRL_set_version(crl, 1);
	(void)X509_CRL_set_issuer_name(crl, X509_get_subject_name(root->cert));
	(void)X509_CRL_set1_lastUpdate(crl, now);
	(void)X509_REVOKED_set_serialNumber(
		entry, X509_get_serialNumber(SSL_CTX_get0_certificate(id->server_ctx)));
	(void)X509_REVOKED_set_revocationDate(entry, now);
	(void)X509_CRL_add0_revoked(crl, entry);
	assert_true(X509_CRL_sign(crl, root->key, EVP_sha256()) > 0);
	(void)PEM_write_bio_X509_CRL(bio, crl);
	n = BIO_get_mem_data(bio, &data);
	text = strndup(data, (size_t)n);
	(void)BIO_free(bio);
	X509_CRL_free(crl);
	ASN1_TIME_free(now);
	return text;
}

struct certs_root *certs_root_new(void)
{
	struct certs_root *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	assert_int_equal(tls_key_new(&r->key), 0);
	r->cert = certify(r->key, r->key, NULL, NULL);
	return r;
}

void certs_root_free(struct certs_root *r)
{
	X509_free(r->cert);
	EVP_PKEY_free(r->key);
	free(r);
}

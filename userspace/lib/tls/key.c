/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/key.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "tls/spiffe.h"

DEFINE_CLEANUP(X509_REQ *, X509_REQ_free);
DEFINE_CLEANUP(BIO *, BIO_free_all);

static void extensions_free(STACK_OF(X509_EXTENSION) * s)
{
	sk_X509_EXTENSION_pop_free(s, X509_EXTENSION_free);
}
DEFINE_CLEANUP(STACK_OF(X509_EXTENSION) *, extensions_free);

int tls_key_new(EVP_PKEY **ret)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	if (!key) {
		ERR_clear_error();
		return -EIO;
	}
	*ret = key;
	return 0;
}

/* Some CAs demand a critical SAN when the subject is empty: RFC 5280, section 4.2.1.6 says MUST. */
static int request_add_san(X509_REQ *req, const char *spiffe)
{
	_cleanup_(extensions_freep) STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
	char value[SPIFFE_ID_SIZE + 16];
	X509_EXTENSION *ext;

	(void)snprintf(value, sizeof(value), "critical,URI:%s", spiffe);
	ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, value);
	if (!ext || !exts || !sk_X509_EXTENSION_push(exts, ext)) {
		X509_EXTENSION_free(ext);
		return -EIO;
	}
	return X509_REQ_add_extensions(req, exts) ? 0 : -EIO;
}

static int request_to_pem(X509_REQ *req, char **ret)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
	char *data, *pem;
	long n;

	if (!bio || !PEM_write_bio_X509_REQ(bio, req))
		return -EIO;
	n = BIO_get_mem_data(bio, &data);
	pem = strndup(data, (size_t)n);
	if (!pem)
		return -ENOMEM;
	*ret = pem;
	return 0;
}

int tls_csr_new(EVP_PKEY *key, const char *spiffe, char **ret_pem)
{
	_cleanup_(X509_REQ_freep) X509_REQ *req = NULL;
	struct spiffe_id id;
	int r = -EIO;

	if (spiffe_parse(spiffe, &id) < 0)
		return -EINVAL;
	req = X509_REQ_new();
	if (req && X509_REQ_set_version(req, X509_REQ_VERSION_1) && X509_REQ_set_pubkey(req, key) &&
	    request_add_san(req, spiffe) == 0 && X509_REQ_sign(req, key, EVP_sha256()) > 0)
		r = request_to_pem(req, ret_pem);
	ERR_clear_error();
	return r;
}

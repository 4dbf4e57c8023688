/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fixture - a root, two identities, certificates by recipe, and handshakes in memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tls/channel.h"
#include "tls/identity.h"
#include "tls/key.h"

#define CLIENT "spiffe://cluster.local/ns/a/sa/client"
#define SERVER "spiffe://cluster.local/ns/b/sa/server"
#define DAY    86400L

DEFINE_CLEANUP(X509 *, X509_free);

/* How a certificate is to be made; zero is a good leaf without names. */
struct recipe {
	const char *san;     /* openssl's own language; NULL: none */
	const char *eku;     /* NULL: "serverAuth,clientAuth" */
	const char *basic;   /* NULL: "critical,CA:FALSE" */
	const void *raw_san; /* the extension's DER instead of @san */
	int raw_san_len;
	long from_s, to_s; /* both 0: from a minute ago for a day */
	X509 *issuer;      /* NULL: self-signed */
	EVP_PKEY *issuer_key;
};

static inline void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	assert_int_equal(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

static inline void extend_raw_san(X509 *cert, const struct recipe *how)
{
	ASN1_OCTET_STRING *os = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext;

	assert_int_equal(ASN1_OCTET_STRING_set(os, how->raw_san, how->raw_san_len), 1);
	ext = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 1, os);
	assert_int_equal(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(os);
}

static inline X509 *certify(EVP_PKEY *key, const struct recipe *how)
{
	static long serial = 1;
	X509 *cert = X509_new();
	X509 *issuer = how->issuer ? how->issuer : cert;
	char cn[32];

	(void)snprintf(cn, sizeof(cn), "cert %ld", serial);
	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(cert), how->from_s || how->to_s ? how->from_s : -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), how->from_s || how->to_s ? how->to_s : DAY);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				   (unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(issuer));
	extend(cert, issuer, NID_basic_constraints, how->basic ? how->basic : "critical,CA:FALSE");
	extend(cert, issuer, NID_subject_key_identifier, "hash");
	if (how->basic && strstr(how->basic, "TRUE"))
		extend(cert, issuer, NID_key_usage, "critical,keyCertSign");
	else
		extend(cert, issuer, NID_ext_key_usage,
		       how->eku ? how->eku : "serverAuth,clientAuth");
	if (how->san)
		extend(cert, issuer, NID_subject_alt_name, how->san);
	if (how->raw_san)
		extend_raw_san(cert, how);
	assert_true(X509_sign(cert, how->issuer_key ? how->issuer_key : key, EVP_sha256()) > 0);
	return cert;
}

static inline char *pem_of(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long n;

	PEM_write_bio_X509(bio, cert);
	n = BIO_get_mem_data(bio, &data);
	text = strndup(data, (size_t)n);
	BIO_free(bio);
	return text;
}

struct fixture {
	EVP_PKEY *root_key, *leaf_key;
	X509 *root;
	char *root_pem;
	const struct tls_identity *client, *server;
};

static inline const struct tls_identity *identity_of(struct fixture *f, const char *spiffe)
{
	char san[SPIFFE_ID_SIZE + 32];
	struct recipe how = {.san = san, .issuer = f->root, .issuer_key = f->root_key};
	const struct tls_identity *id = NULL;
	_cleanup_(X509_freep) X509 *leaf = NULL;
	_cleanup_(freep) char *pem = NULL;

	(void)snprintf(san, sizeof(san), "critical,URI:%s", spiffe);
	leaf = certify(f->leaf_key, &how);
	pem = pem_of(leaf);
	assert_int_equal(tls_identity_new(spiffe, f->leaf_key,
					  (const char *const[]){pem, f->root_pem}, 2, &id),
			 0);
	return id;
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(tls_key_new(&f->root_key), 0);
	assert_int_equal(tls_key_new(&f->leaf_key), 0);
	f->root = certify(f->root_key, &(struct recipe){.basic = "critical,CA:TRUE"});
	f->root_pem = pem_of(f->root);
	f->client = identity_of(f, CLIENT);
	f->server = identity_of(f, SERVER);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	(void)tls_identity_unref(f->client);
	(void)tls_identity_unref(f->server);
	EVP_PKEY_free(f->root_key);
	EVP_PKEY_free(f->leaf_key);
	X509_free(f->root);
	free(f->root_pem);
	free(f);
	return 0;
}

/* Shake hands over memory. Return: bit 0 the client is content, bit 1 the server. */
static inline int handshake(SSL *client, SSL *server)
{
	BIO *a, *b;
	int c = 0, s = 0;

	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(client, a, a);
	SSL_set_bio(server, b, b);
	for (int i = 0; i < 20 && (c != 1 || s != 1); i++) {
		if (c != 1)
			c = SSL_connect(client);
		if (s != 1)
			s = SSL_accept(server);
		if ((c < 1 && SSL_get_error(client, c) == SSL_ERROR_SSL) ||
		    (s < 1 && SSL_get_error(server, s) == SSL_ERROR_SSL))
			break;
	}
	return (c == 1) | (s == 1) << 1;
}

static inline int shake(SSL_CTX *client_ctx, SSL_CTX *server_ctx, const char *expected)
{
	_cleanup_(SSL_freep) SSL *client = SSL_new(client_ctx);
	_cleanup_(SSL_freep) SSL *server = SSL_new(server_ctx);

	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	if (expected)
		assert_int_equal(tls_expect_identities(client, &expected, 1), 0);
	return handshake(client, server);
}

/* A list of @issuer with the leaf of @id on it, or empty. */
static inline char *crl_pem(X509 *issuer, EVP_PKEY *key, const struct tls_identity *id)
{
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	X509_CRL *crl = X509_CRL_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long n;

	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
	X509_CRL_set1_lastUpdate(crl, now);
	if (id) {
		X509_REVOKED *entry = X509_REVOKED_new();

		X509_REVOKED_set_serialNumber(
			entry, X509_get_serialNumber(SSL_CTX_get0_certificate(id->server_ctx)));
		X509_REVOKED_set_revocationDate(entry, now);
		X509_CRL_add0_revoked(crl, entry);
	}
	assert_true(X509_CRL_sign(crl, key, EVP_sha256()) > 0);
	PEM_write_bio_X509_CRL(bio, crl);
	n = BIO_get_mem_data(bio, &data);
	text = strndup(data, (size_t)n);
	BIO_free(bio);
	X509_CRL_free(crl);
	ASN1_TIME_free(now);
	return text;
}

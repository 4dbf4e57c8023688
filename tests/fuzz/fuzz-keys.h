/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fuzz-keys - a root and a workload's key that are the same in each run, so that what stands in a
 * corpus goes with them. They open nothing. */
#include <stdlib.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#define FUZZ_ID "spiffe://cluster.local/ns/a/sa/b"

static const char fuzz_root_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBYjCCAQmgAwIBAgIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQKDA1jbHVzdGVy\n"
	"LmxvY2FsMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAYMRYwFAYD\n"
	"VQQKDA1jbHVzdGVyLmxvY2FsMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAErIFx\n"
	"6udrOa7E4rMLByWZYK+lOiDIhgIWiXijR5B2DcahCguw/8ehzXiTg5WIlLyFwjra\n"
	"9/Yp6k9/UDCxquRCtKNCMEAwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMC\n"
	"AQYwHQYDVR0OBBYEFCWmF7HG6jIstavWbtreA05grKRKMAoGCCqGSM49BAMCA0cA\n"
	"MEQCIA5DRzqXAV2jqvbPmHobS65JhbM3Wyc01dCHdsQiuIJqAiAcIMZZhZ7EWv4h\n"
	"EO9x24aVe19l+hc/7V9bZEJBWrLheQ==\n"
	"-----END CERTIFICATE-----\n";
static const char fuzz_root_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbadOsNdSWnMkVg4b\n"
	"HjSd9UgblaGUB+17wquutNTV+behRANCAASsgXHq52s5rsTiswsHJZlgr6U6IMiG\n"
	"AhaJeKNHkHYNxqEKC7D/x6HNeJODlYiUvIXCOtr39inqT39QMLGq5EK0\n"
	"-----END PRIVATE KEY-----\n";
static const char fuzz_leaf_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjz1wNsxkc5r4xoUE\n"
	"sw2aKfrprtWIyXsOmS8KNZlZY1ChRANCAARgFrj8Zk16QWLPhJMglheZzFJY07lZ\n"
	"a5zLbaO3MOMeJ6g/V3Y8LAHiKZjsmRq8ErjvJRN8QZfBXq6R9ppiajIm\n"
	"-----END PRIVATE KEY-----\n";

static inline EVP_PKEY *fuzz_key(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

	BIO_free(bio);
	if (!key)
		abort();
	return key;
}

static inline X509 *fuzz_root(void)
{
	BIO *bio = BIO_new_mem_buf(fuzz_root_cert, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	if (!cert)
		abort();
	return cert;
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* key - ECDSA P-256 keys and the certificate requests that go with them. Keys stay in memory;
 * OpenSSL wipes them when freed. */
#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/macros.h"

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free);

/** tls_key_new() - a fresh P-256 key; free with EVP_PKEY_free(). Blocks for some 50 us. Return: 0;
 * -EIO OpenSSL failed. */
_must_check_ int tls_key_new(EVP_PKEY **ret);

/**
 * tls_csr_new() - a request with an empty subject and one critical URI SAN, PEM; free with free().
 * @spiffe: the SAN; must be a SPIFFE ID.
 * Return: 0; -EINVAL @spiffe; -EIO OpenSSL failed; -ENOMEM.
 */
_must_check_ int tls_csr_new(EVP_PKEY *key, const char *spiffe, char **ret_pem);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* gcm_internal - what gcm.c and gcm_cipher.c share: libipsec-mb's functions, and the OpenSSL
 * provider around them. */
#include <intel-ipsec-mb.h>
#include <openssl/core.h>
#include <stddef.h>

#define GCM_PROVIDER "culvert-gcm"

/* For one length of key. All of them are pure functions of what they are given. */
struct gcm_engine {
	size_t key_len; /* bytes */
	aes_gcm_pre_t expand;
	aes_gcm_init_t init;
	aes_gcm_enc_dec_update_t encrypt, decrypt;
	aes_gcm_enc_dec_finalize_t encrypt_end, decrypt_end;
};

/* Filled before the provider is loaded, never changed again. */
extern struct gcm_engine gcm_engine_128, gcm_engine_256;

/** gcm_provider_init() - the provider's entry, as OSSL_PROVIDER_add_builtin() wants it. Return: 1.
 */
int gcm_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
		      const OSSL_DISPATCH **ret, void **ret_ctx);

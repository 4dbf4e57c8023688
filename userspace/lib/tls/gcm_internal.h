/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* gcm_internal - what gcm.c, gcm_cipher.c and gcm_records.c share: libipsec-mb's functions, and the
 * OpenSSL provider around them. */
#define NO_COMPAT_IMB_API_053 /* its old names are some of OpenSSL's */
#include <intel-ipsec-mb.h>
#include <openssl/core.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "tls/records.h"

#define GCM_PROVIDER "culvert-gcm"
#define GCM_IV_LEN   12
#define GCM_TAG_LEN  16
#define GCM_ALIGN    64
/* TLS 1.3 has the five bytes of a record's head. */
#define GCM_AAD_MAX 64

/* For one length of key. All of them are pure functions of what they are given. */
struct gcm_engine {
	size_t key_len; /* bytes */
	aes_gcm_pre_t expand;
	aes_gcm_init_t init;
	aes_gcm_enc_dec_update_t encrypt, decrypt;
	aes_gcm_enc_dec_finalize_t encrypt_end, decrypt_end;
	aes_gcm_enc_dec_t encrypt_whole, decrypt_whole;
};

/* Filled before the provider is loaded, never changed again. */
extern struct gcm_engine gcm_engine_128, gcm_engine_256;

enum gcm_stage {
	GCM_NO_IV, /* none yet, or used up: one IV is for one message */
	GCM_AAD,   /* of the message nothing but what goes beside it has come */
	GCM_DATA,
};

/* One direction of a connection, as OpenSSL has it from our provider. */
struct gcm_cipher {
	struct gcm_key_data key;
	struct gcm_context_data message;
	const struct gcm_engine *engine;
	uint64_t len; /* of the message so far */
	size_t aad_len;
	enum gcm_stage stage;
	bool has_key;
	bool is_encrypting;
	bool has_tag; /* encrypting: made; decrypting: told what it has to be */
	uint8_t iv[GCM_IV_LEN];
	uint8_t tag[GCM_TAG_LEN];
	uint8_t aad[GCM_AAD_MAX];
	/* gcm_records.c: */
	struct tls_records *records; /* NULL: of no connection that has records beside OpenSSL's */
	bool has_first;              /* OpenSSL has made the first record under this key */
	uint8_t first[GCM_IV_LEN];   /* its IV */
	uint64_t count;              /* records under this key */
	uint64_t openssl_count;      /* those that OpenSSL knows of */
} __attribute__((aligned(GCM_ALIGN)));

/** gcm_records_bind() - @c has a new key: the connection that the thread has bound may use it. */
void gcm_records_bind(struct gcm_cipher *c);
/** gcm_records_unbind() - nobody may any more. */
void gcm_records_unbind(struct gcm_cipher *c);
/**
 * gcm_records_iv() - OpenSSL is about to make or read a record.
 * @iv:  what it takes for the record's IV.
 * @ret: what the IV is, as others were made or read in between. Maybe @c's own.
 * Return: false: @iv is not the one of its next record, nor, for opening and before any that was
 * opened beside OpenSSL, of the first.
 */
_must_check_ bool gcm_records_iv(struct gcm_cipher *c, const unsigned char *iv, uint8_t *ret);

/** gcm_provider_init() - the provider's entry, as OSSL_PROVIDER_add_builtin() wants it. Return: 1.
 */
int gcm_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
		      const OSSL_DISPATCH **ret, void **ret_ctx);

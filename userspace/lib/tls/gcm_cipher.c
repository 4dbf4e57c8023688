/* SPDX-License-Identifier: Apache-2.0 */
/* gcm_cipher - a provider for OpenSSL 3 with two ciphers, as far as TLS 1.3 needs them: IV of 12
 * bytes, tag of 16, a few bytes beside the record. What else is asked of them fails. Plaintext is
 * given out before the tag is looked at, as by OpenSSL's own: the record layer hands on none of a
 * record whose end it was not told to be good. */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "tls/gcm_internal.h"

/* NIST SP 800-38D: of one message. */
#define MESSAGE_MAX ((1ULL << 36) - 32)

struct gcm_engine gcm_engine_128 = {.key_len = 16}, gcm_engine_256 = {.key_len = 32};

static struct gcm_cipher *cipher_alloc(void)
{
	return aligned_alloc(GCM_ALIGN, sizeof(struct gcm_cipher));
}

static void *cipher_new(const struct gcm_engine *engine)
{
	struct gcm_cipher *c = cipher_alloc();

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->engine = engine;
	return c;
}

static void *cipher_new_128(void *provider)
{
	return cipher_new(&gcm_engine_128);
}

static void *cipher_new_256(void *provider)
{
	return cipher_new(&gcm_engine_256);
}

static void cipher_free(void *ctx)
{
	if (!ctx)
		return;
	gcm_records_unbind(ctx);
	OPENSSL_cleanse(ctx, sizeof(struct gcm_cipher));
	free(ctx);
}

/* cipher_dup() - not of a connection's: two that count its records would use a number twice. */
static void *cipher_dup(void *ctx)
{
	const struct gcm_cipher *from = ctx;
	struct gcm_cipher *c = from->records ? NULL : cipher_alloc();

	if (c)
		memcpy(c, from, sizeof(*c));
	return c;
}

static int set_tag(struct gcm_cipher *c, const OSSL_PARAM *p)
{
	if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size != GCM_TAG_LEN)
		return 0;
	if (!p->data) /* nothing but the length */
		return 1;
	if (c->is_encrypting)
		return 0;
	memcpy(c->tag, p->data, GCM_TAG_LEN);
	c->has_tag = true;
	return 1;
}

static int expect_size(const OSSL_PARAM *p, size_t expected)
{
	size_t n;

	return OSSL_PARAM_get_size_t(p, &n) && n == expected;
}

static int cipher_set_params(void *ctx, const OSSL_PARAM params[])
{
	struct gcm_cipher *c = ctx;
	int ok = 1;

	for (const OSSL_PARAM *p = params; ok && p && p->key; p++)
		if (streq(p->key, OSSL_CIPHER_PARAM_AEAD_TAG))
			ok = set_tag(c, p);
		else if (streq(p->key, OSSL_CIPHER_PARAM_AEAD_IVLEN))
			ok = expect_size(p, GCM_IV_LEN);
		else if (streq(p->key, OSSL_CIPHER_PARAM_KEYLEN))
			ok = expect_size(p, c->engine->key_len);
	return ok;
}

static int get_tag(const struct gcm_cipher *c, OSSL_PARAM *p)
{
	if (!c->is_encrypting || !c->has_tag || p->data_size != GCM_TAG_LEN)
		return 0;
	return OSSL_PARAM_set_octet_string(p, c->tag, GCM_TAG_LEN);
}

static int cipher_get_params(void *ctx, OSSL_PARAM params[])
{
	const struct gcm_cipher *c = ctx;
	int ok = 1;

	for (OSSL_PARAM *p = params; ok && p && p->key; p++)
		if (streq(p->key, OSSL_CIPHER_PARAM_AEAD_TAG))
			ok = get_tag(c, p);
		else if (streq(p->key, OSSL_CIPHER_PARAM_IVLEN))
			ok = OSSL_PARAM_set_size_t(p, GCM_IV_LEN);
		else if (streq(p->key, OSSL_CIPHER_PARAM_KEYLEN))
			ok = OSSL_PARAM_set_size_t(p, c->engine->key_len);
		else if (streq(p->key, OSSL_CIPHER_PARAM_AEAD_TAGLEN))
			ok = OSSL_PARAM_set_size_t(p, GCM_TAG_LEN);
	return ok;
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature, and the way */
static int cipher_init(struct gcm_cipher *c, const unsigned char *key, size_t key_len,
		       const unsigned char *iv, size_t iv_len, const OSSL_PARAM params[],
		       bool is_encrypting)
{
	if ((key && key_len != c->engine->key_len) || (iv && iv_len != GCM_IV_LEN))
		return 0;
	if (c->records && !key && c->is_encrypting != is_encrypting)
		return 0;
	if (key)
		gcm_records_unbind(c);
	c->is_encrypting = is_encrypting;
	c->has_tag = false;
	c->stage = GCM_NO_IV;
	c->aad_len = 0;
	c->len = 0;
	if (key) {
		c->engine->expand(key, &c->key);
		c->has_key = true;
		gcm_records_bind(c);
	}
	if (iv) {
		if (!gcm_records_iv(c, iv, c->iv))
			return 0;
		c->stage = GCM_AAD;
	}
	return cipher_set_params(c, params);
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static int on_encrypt_init(void *ctx, const unsigned char *key, size_t key_len,
			   const unsigned char *iv, size_t iv_len, const OSSL_PARAM params[])
{
	return cipher_init(ctx, key, key_len, iv, iv_len, params, true);
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static int on_decrypt_init(void *ctx, const unsigned char *key, size_t key_len,
			   const unsigned char *iv, size_t iv_len, const OSSL_PARAM params[])
{
	return cipher_init(ctx, key, key_len, iv, iv_len, params, false);
}

static int add_aad(struct gcm_cipher *c, const unsigned char *p, size_t n)
{
	if (c->stage != GCM_AAD || n > GCM_AAD_MAX - c->aad_len)
		return 0;
	memcpy(c->aad + c->aad_len, p, n);
	c->aad_len += n;
	return 1;
}

/* begin() - all that goes beside the message is there. */
static void begin(struct gcm_cipher *c)
{
	if (c->stage == GCM_DATA)
		return;
	c->engine->init(&c->key, &c->message, c->iv, c->aad, c->aad_len);
	c->stage = GCM_DATA;
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static int on_update(void *ctx, unsigned char *out, size_t *ret_len, size_t out_size,
		     const unsigned char *in, size_t n)
{
	struct gcm_cipher *c = ctx;

	*ret_len = 0;
	if (!c->has_key || c->stage == GCM_NO_IV)
		return 0;
	if (n == 0)
		return 1;
	if (!out) {
		*ret_len = n;
		return add_aad(c, in, n);
	}
	if (out_size < n || n > MESSAGE_MAX - c->len)
		return 0;
	begin(c);
	if (c->is_encrypting)
		c->engine->encrypt(&c->key, &c->message, out, in, n);
	else
		c->engine->decrypt(&c->key, &c->message, out, in, n);
	c->len += n;
	*ret_len = n;
	return 1;
}

static int on_final(void *ctx, unsigned char *out, size_t *ret_len, size_t out_size)
{
	struct gcm_cipher *c = ctx;
	uint8_t tag[GCM_TAG_LEN];
	int ok;

	*ret_len = 0;
	if (!c->has_key || c->stage == GCM_NO_IV || (!c->is_encrypting && !c->has_tag))
		return 0;
	begin(c);
	c->stage = GCM_NO_IV;
	if (c->is_encrypting) {
		c->engine->encrypt_end(&c->key, &c->message, c->tag, GCM_TAG_LEN);
		c->has_tag = true;
		return 1;
	}
	c->engine->decrypt_end(&c->key, &c->message, tag, GCM_TAG_LEN);
	ok = CRYPTO_memcmp(tag, c->tag, GCM_TAG_LEN) == 0;
	/* what would have been right is nobody's business */
	OPENSSL_cleanse(tag, sizeof(tag));
	c->has_tag = false;
	return ok;
}

static int get_static_params(OSSL_PARAM params[], size_t key_len)
{
	int ok = 1;

	for (OSSL_PARAM *p = params; ok && p && p->key; p++)
		if (streq(p->key, OSSL_CIPHER_PARAM_MODE))
			ok = OSSL_PARAM_set_uint(p, EVP_CIPH_GCM_MODE);
		else if (streq(p->key, OSSL_CIPHER_PARAM_KEYLEN))
			ok = OSSL_PARAM_set_size_t(p, key_len);
		else if (streq(p->key, OSSL_CIPHER_PARAM_IVLEN))
			ok = OSSL_PARAM_set_size_t(p, GCM_IV_LEN);
		else if (streq(p->key, OSSL_CIPHER_PARAM_BLOCK_SIZE))
			ok = OSSL_PARAM_set_size_t(p, 1);
		else if (streq(p->key, OSSL_CIPHER_PARAM_AEAD) ||
			 streq(p->key, OSSL_CIPHER_PARAM_CUSTOM_IV))
			ok = OSSL_PARAM_set_int(p, 1);
	return ok;
}

static int get_static_params_128(OSSL_PARAM params[])
{
	return get_static_params(params, gcm_engine_128.key_len);
}

static int get_static_params_256(OSSL_PARAM params[])
{
	return get_static_params(params, gcm_engine_256.key_len);
}

static const OSSL_PARAM *gettable_static(void *provider)
{
	static const OSSL_PARAM list[] = {
		OSSL_PARAM_uint(OSSL_CIPHER_PARAM_MODE, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_BLOCK_SIZE, NULL),
		OSSL_PARAM_int(OSSL_CIPHER_PARAM_AEAD, NULL),
		OSSL_PARAM_int(OSSL_CIPHER_PARAM_CUSTOM_IV, NULL),
		OSSL_PARAM_END,
	};

	return list;
}

static const OSSL_PARAM *gettable(void *ctx, void *provider)
{
	static const OSSL_PARAM list[] = {
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_AEAD_TAGLEN, NULL),
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, NULL, 0),
		OSSL_PARAM_END,
	};

	return list;
}

static const OSSL_PARAM *settable(void *ctx, void *provider)
{
	static const OSSL_PARAM list[] = {
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_AEAD_IVLEN, NULL),
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, NULL, 0),
		OSSL_PARAM_END,
	};

	return list;
}

#define FUNCTIONS(bits)                                                                            \
	{                                                                                          \
		{OSSL_FUNC_CIPHER_NEWCTX, (void (*)(void))cipher_new_##bits},                      \
			{OSSL_FUNC_CIPHER_FREECTX, (void (*)(void))cipher_free},                   \
			{OSSL_FUNC_CIPHER_DUPCTX, (void (*)(void))cipher_dup},                     \
			{OSSL_FUNC_CIPHER_ENCRYPT_INIT, (void (*)(void))on_encrypt_init},          \
			{OSSL_FUNC_CIPHER_DECRYPT_INIT, (void (*)(void))on_decrypt_init},          \
			{OSSL_FUNC_CIPHER_UPDATE, (void (*)(void))on_update},                      \
			{OSSL_FUNC_CIPHER_FINAL, (void (*)(void))on_final},                        \
			{OSSL_FUNC_CIPHER_GET_PARAMS, (void (*)(void))get_static_params_##bits},   \
			{OSSL_FUNC_CIPHER_GET_CTX_PARAMS, (void (*)(void))cipher_get_params},      \
			{OSSL_FUNC_CIPHER_SET_CTX_PARAMS, (void (*)(void))cipher_set_params},      \
			{OSSL_FUNC_CIPHER_GETTABLE_PARAMS, (void (*)(void))gettable_static},       \
			{OSSL_FUNC_CIPHER_GETTABLE_CTX_PARAMS, (void (*)(void))gettable},          \
			{OSSL_FUNC_CIPHER_SETTABLE_CTX_PARAMS, (void (*)(void))settable},          \
			{0, NULL},                                                                 \
	}

static const OSSL_DISPATCH functions_128[] = FUNCTIONS(128), functions_256[] = FUNCTIONS(256);

/* The names that OpenSSL's own has. */
static const OSSL_ALGORITHM ciphers[] = {
	{"AES-128-GCM:id-aes128-GCM:2.16.840.1.101.3.4.1.6", "provider=" GCM_PROVIDER,
	 functions_128, NULL},
	{"AES-256-GCM:id-aes256-GCM:2.16.840.1.101.3.4.1.46", "provider=" GCM_PROVIDER,
	 functions_256, NULL},
	{NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM *on_query(void *provider, int operation, int *ret_no_cache)
{
	*ret_no_cache = 0;
	return operation == OSSL_OP_CIPHER ? ciphers : NULL;
}

int gcm_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
		      const OSSL_DISPATCH **ret, void **ret_ctx)
{
	static const OSSL_DISPATCH functions[] = {
		{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))on_query},
		{0, NULL},
	};

	*ret = functions;
	*ret_ctx = (void *)(uintptr_t)handle;
	return 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* gcm_records - records of application data by the ciphers that OpenSSL has from gcm_cipher.c.
 * OpenSSL numbers the records that pass through it, and makes each one's IV of its number; the
 * ciphers know how many there were in truth, and take that number instead. */
#include "tls/records.h"

#include <openssl/crypto.h>
#include <string.h>

#include "tls/gcm_internal.h"

/* Whose the keys are that OpenSSL sets on this thread. */
static __thread struct tls_records *bound;

/* place_of() - where the connection has it. */
static void **place_of(const struct gcm_cipher *c)
{
	return c->is_encrypting ? &c->records->_sealing : &c->records->_opening;
}

void tls_records_bind(struct tls_records *r)
{
	bound = r;
}

void gcm_records_bind(struct gcm_cipher *c)
{
	c->has_first = false;
	c->count = 0;
	c->openssl_count = 0;
	c->records = bound;
	if (bound)
		*place_of(c) = c;
}

void gcm_records_unbind(struct gcm_cipher *c)
{
	/* The next key's may be there by now. */
	if (c->records && *place_of(c) == c)
		*place_of(c) = NULL;
	c->records = NULL;
}

/* make_iv() - of the record of this number under the key: RFC 8446, section 5.3. */
static void make_iv(const struct gcm_cipher *c, uint64_t number, uint8_t *ret)
{
	memcpy(ret, c->first, GCM_IV_LEN);
	for (size_t i = 0; i < sizeof(number); i++)
		ret[GCM_IV_LEN - 1 - i] ^= (uint8_t)(number >> 8 * i);
}

bool gcm_records_iv(struct gcm_cipher *c, const unsigned char *iv, uint8_t *ret)
{
	uint8_t expected[GCM_IV_LEN];

	if (!c->records) {
		memcpy(ret, iv, GCM_IV_LEN);
		return true;
	}
	if (!c->has_first) {
		memcpy(c->first, iv, GCM_IV_LEN);
		c->has_first = true;
	}
	/* A client's early data, which no server of ours takes, OpenSSL tries to open with the key
	 * of the handshake, and counts from 0 again after each record of it. Never for sealing,
	 * nor once a record has been opened beside it. */
	if (!c->is_encrypting && c->count == c->openssl_count &&
	    memcmp(c->first, iv, GCM_IV_LEN) == 0)
		c->count = c->openssl_count = 0;
	make_iv(c, c->openssl_count++, expected);
	make_iv(c, c->count++, ret);
	return memcmp(expected, iv, GCM_IV_LEN) == 0;
}

/* is_plain_sailing() - nothing that OpenSSL has to say or to hear comes first: handshake, new keys,
 * the end; and records are not bounded as the peer has asked for, which is left to OpenSSL, too. */
static bool is_plain_sailing(const SSL *ssl)
{
	return SSL_is_init_finished(ssl) && SSL_get_shutdown(ssl) == 0 &&
	       SSL_get_key_update_type(ssl) == SSL_KEY_UPDATE_NONE &&
	       SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl)) ==
		       TLSEXT_max_fragment_length_DISABLED;
}

static void make_head(uint8_t *head, size_t sealed_len)
{
	head[0] = SSL3_RT_APPLICATION_DATA;
	head[1] = TLS1_2_VERSION_MAJOR;
	head[2] = TLS1_2_VERSION_MINOR;
	head[3] = (uint8_t)(sealed_len >> 8);
	head[4] = (uint8_t)sealed_len;
}

size_t tls_records_seal(struct tls_records *r, const SSL *ssl, uint8_t *p, size_t n, uint8_t *ret)
{
	struct gcm_cipher *c = r->_sealing;
	uint8_t *body = ret + TLS_RECORD_HEAD;
	uint8_t after;

	if (!c || !c->has_first || !is_plain_sailing(ssl))
		return 0;
	make_head(ret, n + 1 + GCM_TAG_LEN);
	make_iv(c, c->count++, c->iv);
	after = p[n];
	p[n] = SSL3_RT_APPLICATION_DATA;
	c->engine->encrypt_whole(&c->key, &c->message, body, p, n + 1, c->iv, ret, TLS_RECORD_HEAD,
				 body + n + 1, GCM_TAG_LEN);
	p[n] = after;
	return n + TLS_RECORD_OVERHEAD;
}

/* sealed_len() - bytes after the head of the record that begins here. Return: 0: it is not all
 * here, or not what tls_records_seal() makes. */
static size_t sealed_len(const struct tls_sealed *in)
{
	uint8_t head[TLS_RECORD_HEAD];
	size_t len;

	if (in->n < TLS_RECORD_HEAD)
		return 0;
	len = (size_t)in->p[3] << 8 | in->p[4];
	make_head(head, len);
	if (memcmp(head, in->p, sizeof(head)) != 0 || in->n - TLS_RECORD_HEAD < len)
		return 0;
	if (len <= 1 + GCM_TAG_LEN || len > TLS_RECORD_MAX + 1 + GCM_TAG_LEN)
		return 0;
	return len;
}

size_t tls_records_open(struct tls_records *r, const SSL *ssl, const struct tls_sealed *in,
			uint8_t *ret, size_t *ret_used)
{
	struct gcm_cipher *c = r->_opening;
	size_t len = c && c->has_first ? sealed_len(in) : 0;
	const uint8_t *body = in->p + TLS_RECORD_HEAD;
	uint8_t tag[GCM_TAG_LEN];
	bool is_good;

	if (len == 0 || len - GCM_TAG_LEN > in->room || SSL_has_pending(ssl) ||
	    !is_plain_sailing(ssl))
		return 0;
	len -= GCM_TAG_LEN;
	make_iv(c, c->count, c->iv);
	c->engine->decrypt_whole(&c->key, &c->message, ret, body, len, c->iv, in->p,
				 TLS_RECORD_HEAD, tag, GCM_TAG_LEN);
	is_good = CRYPTO_memcmp(tag, body + len, GCM_TAG_LEN) == 0;
	OPENSSL_cleanse(tag, sizeof(tag));
	/* False, padded, or a message for OpenSSL: it decrypts that once more, and knows what to
	 * do. */
	if (!is_good || ret[len - 1] != SSL3_RT_APPLICATION_DATA) {
		OPENSSL_cleanse(ret, len);
		return 0;
	}
	c->count++;
	*ret_used = TLS_RECORD_HEAD + len + GCM_TAG_LEN;
	return len - 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* records - the records of application data of a TLS 1.3 connection, sealed and opened from one
 * buffer to another without OpenSSL's record layer: no copy into and out of its buffers, none of
 * the look-ups that it makes for each. Everything else stays with OpenSSL, in the order of the
 * stream: handshake, new keys, alerts, the end, and each record that is not quite as it should be.
 * Works where tls_gcm_load() did (gcm.h); elsewhere both functions always say 0.
 *
 * Keys are not copied: they are in the ciphers that OpenSSL has from our provider. Those count the
 * records under each key, whoever makes them, and no number is used twice for sealing. */
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define TLS_RECORD_MAX      16384 /* bytes of application data */
#define TLS_RECORD_HEAD     5
#define TLS_RECORD_OVERHEAD (TLS_RECORD_HEAD + 1 + 16)

/* Of one connection; zero at first. It must outlive the connection's SSL. */
struct tls_records {
	void *_sealing, *_opening;
};

/** tls_records_bind() - around each call into OpenSSL that may set keys: those that it sets on this
 * thread are @r's. NULL, afterwards: nobody's. */
void tls_records_bind(struct tls_records *r);

/**
 * tls_records_seal() - one record.
 * @p:   @n bytes, up to TLS_RECORD_MAX. p[n] must be there: it is used and restored.
 * @ret: room for @n + TLS_RECORD_OVERHEAD; apart from @p.
 * Return: bytes in @ret; 0: nothing is done, it has to be SSL_write_ex() this time.
 */
_must_check_ size_t tls_records_seal(struct tls_records *r, const SSL *ssl, uint8_t *p, size_t n,
				     uint8_t *ret);

struct tls_sealed {
	const uint8_t *p;
	size_t n;    /* bytes that have come */
	size_t room; /* for what is in them */
};

/**
 * tls_records_open() - one record. Not after an SSL_read_ex() that gave nothing: OpenSSL may have
 * the beginning of a record or message, and that is its business to end.
 * @in:  the stream from where OpenSSL's BIO would read next.
 * @ret: apart from it. Nothing of a false record stays there.
 * @ret_used: bytes of the stream; set where it is not 0 that is returned.
 * Return: bytes in @ret, 1 to TLS_RECORD_MAX; 0: it has to be SSL_read_ex() this time.
 */
_must_check_ size_t tls_records_open(struct tls_records *r, const SSL *ssl,
				     const struct tls_sealed *in, uint8_t *ret, size_t *ret_used);

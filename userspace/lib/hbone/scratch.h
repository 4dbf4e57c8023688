/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* scratch - the buffers that all tunnels of a thread share, and the BIO that connects OpenSSL to
 * them. For tunnel.c. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/macros.h"
#include "tls/records.h"

/* One read of a socket, one write to it: large enough that system calls stop to matter, small
 * enough for the L2 cache. */
#define SCRATCH_READ_MAX  (320 * 1024) /* a whole write of the other end, with its overhead */
#define SCRATCH_WRITE_MAX (256 * 1024)
/* TLS adds at most 22 bytes to a record of 16 KiB; handshakes and alerts come on top. */
#define SCRATCH_CIPHER_MAX (SCRATCH_WRITE_MAX + (SCRATCH_WRITE_MAX / 16384 + 2) * 64 + 64 * 1024)
/* A record may complete that began in an earlier read. */
#define SCRATCH_PLAIN_MAX (SCRATCH_READ_MAX + 32 * 1024)

/* Handshakes that wait for a step, of which a turn of the loop has one. Each has a place by its
 * share; the places take turns, and in each they go in the order in which they came. */
#define HANDSHAKE_SHARES 64
struct handshake_steps {
	struct list shares[HANDSHAKE_SHARES]; /* struct tunnel_handshake.turn */
	uint64_t waiting;                     /* bits: where some may wait */
	unsigned int next;
	struct loop_task task;
};

struct hbone_scratch {
	uint8_t *plain_out; /* frames, before encryption */
	uint8_t *plain_in;
	uint8_t *cipher_out;
	uint8_t *cipher_in;
	uint8_t *spare; /* of cipher_out's size, or NULL */
	size_t cipher_out_len;
	size_t cipher_in_len;
	size_t cipher_in_pos;
	struct handshake_steps steps;
};

/* After so many records, 256 GB in full ones, comes a new key: AES-GCM is good for 2^24.5 (RFC
 * 8446, section 5.5), and OpenSSL 3.0 does not count. */
#define SCRATCH_KEY_RECORDS (1U << 24)

/* A new key of the peer's costs as much as a hundred messages, 12 us for 27 bytes, and nobody needs
 * one in hours. So many messages of TLS, the handshake's among them, may come until the owner
 * forgets them; no peer has more. */
#define SCRATCH_MESSAGES_MAX 100

/* A tunnel's TLS. It stays where it is: OpenSSL and the ciphers know its address. */
struct scratch_tls {
	SSL *ssl;
	unsigned int messages; /* see above */
	struct tls_records records;
	uint32_t sealed; /* records of application data since the last new key of ours */
	/* OpenSSL's last read gave nothing: it may have a part of a record or of a message, of
	 * which SSL_has_pending() does not tell, and gets the next record, too. */
	bool is_mid;
};

/** scratch_attach() - let tls->ssl read from cipher_in and write to cipher_out. Return: 0;
 * -ENOMEM. */
_must_check_ int scratch_attach(struct hbone_scratch *s, struct scratch_tls *tls);
/** scratch_tls_new() - and attach it. @ssl is taken on success. Return: 0; -ENOMEM. */
_must_check_ int scratch_tls_new(struct hbone_scratch *s, SSL *ssl, struct scratch_tls **ret);
/** scratch_tls_free() - and its SSL. Takes NULL. */
void scratch_tls_free(struct scratch_tls *tls);
/** scratch_use() - from now on those of @s: it has come to another thread. */
void scratch_use(struct hbone_scratch *s, struct scratch_tls *tls);
/** scratch_handshake() - SSL_do_handshake(). Return: what it says. */
int scratch_handshake(struct scratch_tls *tls);
/** scratch_encrypt() - @n bytes of plain text become records in cipher_out. @p: plain_out, or of
 * room for one byte more, which is used and restored. Return: 0; -EIO. */
_must_check_ int scratch_encrypt(struct hbone_scratch *s, struct scratch_tls *tls, uint8_t *p,
				 size_t n);
/** scratch_decrypt() - records of cipher_in become plain text in plain_in, as many as fit.
 * @ret_len: set always; @ret_is_end: set to true when the peer said goodbye, else untouched.
 * Return: 1 more may come; 0 all taken; -EPROTO; -EDQUOT too many messages of TLS: what came after
 * them is dropped. */
_must_check_ int scratch_decrypt(struct hbone_scratch *s, struct scratch_tls *tls, size_t *ret_len,
				 bool *ret_is_end);
/** scratch_can_keep() - see that there is a spare buffer, so that no record is made for which there
 * is no room when the socket takes it not. Return: whether there is. */
bool scratch_can_keep(struct hbone_scratch *s);
/** scratch_send() - write cipher_out to the socket and empty it. What the socket does not take, all
 * where something is kept already, is kept: without memory in the spare buffer, which then is the
 * tunnel's.
 * Return: 0; -ENOMEM; -ENOBUFS over the limit of @unsent; -errno of send(2). */
_must_check_ int scratch_send(struct hbone_scratch *s, int fd, struct buf *unsent);
/** scratch_drop_kept() - nothing is kept any more. A spare buffer in it comes back: who frees it
 * where memory ends may not get it again, and until then none of the tunnels writes. */
void scratch_drop_kept(struct hbone_scratch *s, struct buf *unsent);
/** scratch_send_kept() - write to the socket what is kept. Return: 0; -errno of send(2). */
_must_check_ int scratch_send_kept(struct hbone_scratch *s, int fd, struct buf *unsent);
/** scratch_forget_errors() - before calls into OpenSSL: what an earlier one left would be taken for
 * theirs. */
void scratch_forget_errors(void);

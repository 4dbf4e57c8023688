/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* scratch - the buffers that all tunnels of a thread share, and the BIO that connects OpenSSL to
 * them. For tunnel.c. */
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/macros.h"

/* One read of a socket, one write to it: large enough that system calls stop to matter, small
 * enough for the L2 cache. */
#define SCRATCH_READ_MAX  (320 * 1024) /* a whole write of the other end, with its overhead */
#define SCRATCH_WRITE_MAX (256 * 1024)
/* TLS adds at most 22 bytes to a record of 16 KiB; handshakes and alerts come on top. */
#define SCRATCH_CIPHER_MAX (SCRATCH_WRITE_MAX + (SCRATCH_WRITE_MAX / 16384 + 2) * 64 + 64 * 1024)
/* A record may complete that began in an earlier read. */
#define SCRATCH_PLAIN_MAX (SCRATCH_READ_MAX + 32 * 1024)

struct hbone_scratch {
	uint8_t *plain_out; /* frames, before encryption */
	uint8_t *plain_in;
	uint8_t *cipher_out;
	uint8_t *cipher_in;
	size_t cipher_out_len;
	size_t cipher_in_len;
	size_t cipher_in_pos;
};

/** scratch_attach() - let @ssl read from cipher_in and write to cipher_out. Return: 0; -ENOMEM. */
_must_check_ int scratch_attach(struct hbone_scratch *s, SSL *ssl);

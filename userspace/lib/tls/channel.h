/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* channel - TLS between a node and the control plane: the server shows a certificate for a host
 * name, the client shows none (a token says who it is). TLS 1.2 or newer, ALPN h2. A peer that
 * sends handshake messages on and on is cut off. One thread. */
#include <openssl/ssl.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"

DEFINE_CLEANUP(SSL *, SSL_free);
DEFINE_CLEANUP(SSL_CTX *, SSL_CTX_free);

/**
 * tls_channel_client() - ready to connect
 * @root_file: PEM of whom to trust, read now, so that a new root is used by the next connection;
 * NULL or "SYSTEM": the system's.
 * @server_name: DNS name or address that the server's certificate must carry.
 * @err: a sentence on failure. Return: 0; -errno of @root_file; -EBADMSG no certificate in it;
 * -ENOMEM.
 */
_must_check_ int tls_channel_client(const char *root_file, const char *server_name, SSL **ret,
				    char *err, size_t err_size);

/** tls_channel_server() - a context to accept with. @chain_pem: leaf first. @key_pem: its key. Both
 * borrowed. Return: 0; -EBADMSG; -ENOMEM. */
_must_check_ int tls_channel_server(const char *chain_pem, const char *key_pem, SSL_CTX **ret);
/** tls_channel_use_http1() - a server's context for HTTP/1.1 instead of HTTP/2, before its first
 * use.
 */
void tls_channel_use_http1(SSL_CTX *ctx);

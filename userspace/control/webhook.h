/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* webhook - the API server asks before it stores Istio's kinds: HTTPS on port 15017, POST
 * /validate, on every replica. Owner: cluster. Thread: its loop. */
#include <openssl/ssl.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/macros.h"
#include "http/server.h"

#define WEBHOOK_PORT 15017

/** webhook_serve() - @listen_fd: taken on success. @ssl_new: of each connection. Return: 0;
 * -ENOMEM; -errno. */
_must_check_ int webhook_serve(struct loop *loop, int listen_fd, SSL *(*ssl_new)(void *arg),
			       void *arg, struct http_server **ret);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* webhook - the API server asks before it stores Istio's kinds: HTTPS on port 15017, POST
 * /validate, on every replica. Owner: cluster. Thread: its loop. */
#include <openssl/ssl.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/macros.h"
#include "http/server.h"
#include "validations.h"

#define WEBHOOK_PORT 15017

struct webhook_config {
	struct loop *loop;          /* borrowed */
	int listen_fd;              /* taken on success */
	SSL *(*ssl_new)(void *arg); /* of each connection */
	void *ssl_arg;
	struct validations *seen; /* borrowed; what was said is counted there */
};

/** webhook_serve() - Return: 0; -ENOMEM; -errno. */
_must_check_ int webhook_serve(const struct webhook_config *config, struct http_server **ret);

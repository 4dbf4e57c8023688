/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* serving - the certificate of ports 15012 and 15017, signed by our own CA for the names of Service
 * istiod, and of istiod-REVISION, and made anew long before it ends. Owner: control. Thread: its
 * loop. */
#include <openssl/ssl.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "ca.h"

struct serving; /* opaque */

/** struct serving_names - what the Services' names are made of; borrowed. */
struct serving_names {
	const char *namespace_, *cluster_domain;
	const char *revision; /* "" the default one */
};

/** serving_new() - Return: 0; -ENOMEM; -errno of clock_watch_start(). */
_must_check_ int serving_new(struct loop *loop, const struct serving_names *names,
			     struct serving **ret);
struct serving *serving_free(struct serving *s);
DEFINE_CLEANUP(struct serving *, serving_free);

/** serving_set_ca() - a certificate of this CA, borrowed, from the next connection on. Return: 0;
 * -errno of ca_sign_server(): the one before stays. */
_must_check_ int serving_set_ca(struct serving *s, struct ca *ca);
/** serving_ssl_new() - for grpc_server_config; @arg: struct serving. */
SSL *serving_ssl_new(void *arg);
/** serving_ssl_new_http1() - the same for http_server_config. */
SSL *serving_ssl_new_http1(void *arg);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* server - small HTTP/1.1 server for admin, metrics, readiness and the webhook. Owner: its creator.
 * Thread: the loop's. One request per connection; heads, bodies, connections and times are bounded.
 * Not for application traffic. */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"

struct http_server; /* opaque */

/** struct http_request - valid during the handler's call only. */
struct http_request {
	const char *method; /* "GET", "POST", ...; HEAD is answered as GET without the body */
	const char *path;   /* "/config_dump"; not decoded */
	const char *query;  /* after "?", not decoded; "" when there is none */
	const char *accept; /* the field of that name; "" when there is none */
	const char *body;   /* where bodies are wanted; "" else */
	size_t body_len;
};

/** struct http_response - filled by the handler, owned by the server. */
struct http_response {
	unsigned int status;      /* 200 unless set */
	const char *content_type; /* static string; "text/plain; charset=utf-8" unless set */
	struct buf body;
};

typedef void http_handler(const struct http_request *req, struct http_response *resp, void *arg);

/** struct http_server_config - for those who want more than http_server_new(). */
struct http_server_config {
	struct loop *loop; /* borrowed */
	int listen_fd;     /* UNIX or TCP, non-blocking; taken on success */
	http_handler *handler;
	void *arg;
	/** ssl_new() - for each connection; NULL as answer refuses it. NULL: no TLS. */
	SSL *(*ssl_new)(void *arg);
	void *ssl_arg;
	/** is_crowd_cut - where strangers reach it: when connections run out, or the room for
	 * bodies, the oldest goes, so that nobody keeps others out by saying nothing. Not with
	 * answers that take long. */
	bool is_crowd_cut;
	/** crowd_us - how long a connection may say nothing while it asks, or not take its answer,
	 * before it goes for another: where many honest ones come at once. Those whose address has
	 * more than that of the one that comes may take a tenth, and so may those that have their
	 * answer. 0: nothing. */
	uint64_t crowd_us;
	size_t body_max;  /* bytes of a body; 0: bodies are read and dropped */
	size_t total_max; /* bytes of all bodies at a time: beyond, 503 */
};

/** http_server_open() - as http_server_new(). */
_must_check_ int http_server_open(const struct http_server_config *config,
				  struct http_server **ret);
/**
 * http_server_new() - serve what connects to a listening descriptor.
 * @listen_fd: UNIX or TCP, non-blocking; taken on success, left to the caller on failure.
 * Return: 0; -ENOMEM; -errno of epoll_ctl.
 */
_must_check_ int http_server_new(struct loop *l, int listen_fd, http_handler *handler, void *arg,
				 struct http_server **ret);
/** http_server_free() - close all; responses that are deferred may still be finished (into
 * nothing). */
struct http_server *http_server_free(struct http_server *s);
DEFINE_CLEANUP(struct http_server *, http_server_free);

/** http_response_defer() - in the handler: the answer comes later; @resp stays valid until
 * http_response_finish(). */
void http_response_defer(struct http_response *resp);
/** http_response_text() - answer with a status and a text, which is added to the body. */
void http_response_text(struct http_response *resp, unsigned int status, const char *text);
/** http_response_finish() - send a deferred answer; @resp is gone afterwards, also when the client
 * has left. */
void http_response_finish(struct http_response *resp);

/** http_query_get() - value of a name in "a=1&b=2", percent-decoded. Return: 0; -ENOENT absent;
 * -EINVAL malformed or over @size. */
_must_check_ int http_query_get(const char *query, const char *name, char *ret, size_t size);
/** http_accept_quality() - how much an Accept field's value wants a media type by name (RFC 9110,
 * section 12.5.1): of several the most. Return: thousandths, 0 to 1000; 0: not named, or not
 * wanted. */
unsigned int http_accept_quality(const char *accept, const char *type);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_client - requests to an API server, by libcurl on our loop: HTTP/2, all of them on one
 * connection. Owner: its creator; thread: its loop. Nothing blocks but reading the token's file. */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_config.h"

#define KUBE_BODY_MAX (64u << 20) /* bytes of an answer that is gathered */

struct kube_client;  /* opaque */
struct kube_request; /* opaque */

/** struct kube_answer - how a request ended. Borrowed for the call. */
struct kube_answer {
	int error;           /* 0: there was an answer, see @status; -errno: none, or it was cut */
	int status;          /* HTTP; 0: none */
	const char *message; /* a sentence on any failure; "" else */
	const char *body;    /* NUL-terminated; "" when it went to on_data */
	size_t len;
};

/** struct kube_request_config - one request; strings are copied. */
struct kube_request_config {
	const char *method;       /* "GET" */
	const char *path;         /* "/api/v1/pods?limit=100" */
	const char *content_type; /* of @body; NULL: JSON */
	const char *accept;       /* what the answer may be; NULL: JSON */
	const char *body;         /* NULL: none */
	uint64_t timeout_us;      /* for all of it; 0: none */
	uint64_t silence_us;      /* without a byte, within that; 0: it is not looked at */
	/** on_begin() - an answer of status 2xx begins; NULL: nobody asks. */
	void (*on_begin)(void *arg);
	/**
	 * on_data() - part of an answer of status 2xx, as it comes; NULL: the whole body is
	 * gathered. Return: 0; -errno ends the request with that error.
	 */
	int (*on_data)(void *arg, const char *data, size_t len);
	/** on_done() - the end; the request is gone when this returns. Never inside
	 * kube_request_new(). */
	void (*on_done)(void *arg, const struct kube_answer *answer);
	void *arg;
};

/** kube_client_new() - @config is borrowed and must outlive it. Return: 0; -ENOMEM. */
_must_check_ int kube_client_new(struct loop *loop, const struct kube_config *config,
				 struct kube_client **ret);
/**
 * kube_client_open() - a client for the API server that we are told of
 * @kubeconfig: a file; NULL or "": that of the cluster whose pod we are.
 * @err: a sentence on failure. Return: as kube_config_load() or kube_config_in_cluster().
 */
_must_check_ int kube_client_open(struct loop *loop, const char *kubeconfig,
				  struct kube_client **ret, char *err, size_t err_size);
/** kube_client_free() - open requests vanish without on_done. Not inside a callback. Takes NULL.
 * Return: NULL. */
struct kube_client *kube_client_free(struct kube_client *c);
DEFINE_CLEANUP(struct kube_client *, kube_client_free);

/** kube_request_new() - start a request. Return: 0; -EINVAL; -ENOMEM. */
_must_check_ int kube_request_new(struct kube_client *c, const struct kube_request_config *config,
				  struct kube_request **ret);
/** kube_request_cancel() - forget it: no on_done. May be called inside its own on_data. Takes NULL.
 * Return: NULL. */
struct kube_request *kube_request_cancel(struct kube_request *q);

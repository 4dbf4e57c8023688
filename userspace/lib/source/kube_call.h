/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_call - one request to an API server, waited for: for command lines, and for daemons that
 * have nothing else to do yet. Runs the loop meanwhile. Thread: the loop's, outside its callbacks.
 */
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_client.h"

#define KUBE_APPLY "application/apply-patch+yaml" /* server-side apply; JSON is YAML */

/** struct kube_reply - an answer. Zero it before use; kube_reply_clear() afterwards. */
struct kube_reply {
	int status;        /* HTTP */
	json_t *body;      /* NULL: no JSON */
	char message[512]; /* why it was refused, or not answered; "" when it was not */
};

/**
 * kube_call() - ask, and wait for the answer
 * @config: its on_data, on_done and arg are not used. A timeout_us of 0: 10 s.
 * @ret: cleared first.
 * Return: 0 there is an answer, of any status; -EINTR the loop was stopped meanwhile; -errno none
 * came: @ret->message says why.
 */
_must_check_ int kube_call(struct loop *loop, struct kube_client *c,
			   const struct kube_request_config *config, struct kube_reply *ret);
/** kube_reply_is_ok() - of status 2xx? */
bool kube_reply_is_ok(const struct kube_reply *r);
void kube_reply_clear(struct kube_reply *r);

/** kube_pause() - run the loop for a while. Return: 0; -EINTR it was stopped meanwhile; -ENOMEM. */
_must_check_ int kube_pause(struct loop *loop, uint64_t pause_us);

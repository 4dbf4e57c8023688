/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cni_server - the socket that culvert-cni asks at. Bounded in number and time; a question that
 * cannot be answered yet is kept and put again. Owner: agent. Thread: loop only. */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "culvert/cni.h"

struct cni_server; /* opaque */

struct cni_server_config {
	struct loop *loop; /* borrowed */
	const char *dir;   /* of the socket, made if it is not there; copied */
	/**
	 * on_request() - what is the answer?
	 * @netns_fd: of ADD; borrowed. @waited_us: since it was asked first.
	 * @ret: verdict and message; a verdict of 0 means: ask again at cni_server_recheck(), or
	 * soon anyway. Then @message says what it waits for.
	 */
	void (*on_request)(void *arg, const struct cni_request *request, int netns_fd,
			   uint64_t waited_us, struct cni_reply *ret);
	void *arg;
};

/** cni_server_new() - listen. Return: 0; -errno. */
_must_check_ int cni_server_new(const struct cni_server_config *config, struct cni_server **ret);
/** cni_server_free() - who waits hears nothing more: the runtime comes back. Takes NULL. Return:
 * NULL. */
struct cni_server *cni_server_free(struct cni_server *s);
DEFINE_CLEANUP(struct cni_server *, cni_server_free);

/** cni_server_recheck() - something has changed: put the questions that wait again, at the end of
 * this turn. Takes NULL. */
void cni_server_recheck(struct cni_server *s);

/** cni_request_check() - is it one? @nfds: descriptors that came with it. Return: 0; -EBADMSG;
 * -EPROTONOSUPPORT of another version. */
_must_check_ int cni_request_check(const struct cni_request *request, size_t len, size_t nfds);

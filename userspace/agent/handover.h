/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* handover - two agents of one node, one after the other, while the node is served throughout: the
 * new one connects to the old one's UNIX socket, which is the whole question; the old one closes
 * the connection when it has let go, which is the whole answer. Root only. */
#include "base/cleanup.h"
#include "base/loop.h"

struct handover; /* opaque */

/**
 * handover_listen() - call @on_asked, once, when another agent asks; the asker hears of its return
 * Owner: agent. Thread: loop only. A file that an agent before left at @path is replaced.
 * Return: 0; -EADDRINUSE; -errno.
 */
_must_check_ int handover_listen(struct loop *loop, const char *path, void (*on_asked)(void *arg),
				 void *arg, struct handover **ret);
/** handover_free() - stop listening. Takes NULL. Return: NULL. */
struct handover *handover_free(struct handover *h);
DEFINE_CLEANUP(struct handover *, handover_free);

/**
 * handover_wait() - ask whoever listens at @path and wait for the answer; some seconds at most.
 * Blocks. Where nobody listens it only waits a moment, so that it can be called again and again.
 * @path: a const char *. Return: 0; -errno what the caller cannot wait out.
 */
int handover_wait(void *path);

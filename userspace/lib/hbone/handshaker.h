/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* handshaker - a thread that makes the TLS handshakes of other threads' tunnels: a step of one
 * costs as much as a hundred messages. It has a tunnel's SSL and socket from the first step to the
 * last; the tunnel itself, its deadlines and its callbacks stay with the thread of its loop. It
 * starts with the first handshake. How many it has at once is up to those who begin them. */
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct hbone_desk;       /* opaque: where a loop gets back what the thread is done with */
struct hbone_handshaker; /* opaque */
struct loop;

/** hbone_handshaker_new() - Return: 0; -ENOMEM; -errno of loop_new(). */
_must_check_ int hbone_handshaker_new(struct hbone_handshaker **ret);
/** hbone_handshaker_free() - end the thread. After the tunnels of all its desks, whose loops run no
 * more. Takes NULL. Return: NULL. */
struct hbone_handshaker *hbone_handshaker_free(struct hbone_handshaker *h);
DEFINE_CLEANUP(struct hbone_handshaker *, hbone_handshaker_free);

/** hbone_desk_new() - one per loop. @h, @loop: borrowed. Return: 0; -ENOMEM; -errno of eventfd(2),
 * epoll_ctl(2). */
_must_check_ int hbone_desk_new(struct hbone_handshaker *h, struct loop *loop,
				struct hbone_desk **ret);
/** hbone_desk_free() - after the tunnels with it, before its loop. Takes NULL. Return: NULL. */
struct hbone_desk *hbone_desk_free(struct hbone_desk *d);
DEFINE_CLEANUP(struct hbone_desk *, hbone_desk_free);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* handshake - a tunnel's TLS handshake, with its SSL and socket, for as long as it lasts: in the
 * tunnel's own loop, or in the thread of a handshaker. For tunnel.c. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/loop.h"
#include "hbone/scratch.h"

#define HANDSHAKE_TEXT_MAX 256

struct hbone_desk;
struct hbone_handshaker;
struct hbone_tunnel;

/* Where it is; of one with a desk it changes under the handshaker's lock. */
enum handshake_place {
	HANDSHAKE_HERE,   /* with its tunnel's thread alone */
	HANDSHAKE_SENT,   /* on its way to the handshaker */
	HANDSHAKE_AWAY,   /* with the handshaker */
	HANDSHAKE_BACK,   /* on its way back */
	HANDSHAKE_WAIVED, /* with the handshaker, and the tunnel is gone */
};

/** struct tunnel_handshake - @tls and the watch's descriptor are its own until it is done. */
struct tunnel_handshake {
	struct list link; /* on its way, under the lock */
	struct list turn; /* in scratch->steps, while is_waiting */
	struct hbone_tunnel *tunnel;
	struct hbone_desk *desk; /* NULL: in the tunnel's loop; gone by now when waived */
	struct hbone_handshaker *handshaker;
	enum handshake_place place;
	bool is_waiting;
	uint64_t share;
	struct loop *loop;
	struct hbone_scratch *scratch; /* of the thread where it is made */
	struct loop_fd watch;
	struct scratch_tls *tls;
	struct buf unsent;
	struct buf behind; /* what has been read behind the handshake: records */
	bool is_over;      /* @error and @text say how */
	int error;
	char text[HANDSHAKE_TEXT_MAX];
};

struct handshake_config {
	struct hbone_tunnel *tunnel;
	struct hbone_desk *desk; /* NULL: in @loop, with @scratch */
	struct loop *loop;
	struct hbone_scratch *scratch;
	struct scratch_tls *tls; /* taken on success, SSL and all */
	int fd;                  /* taken on success */
	uint64_t share;          /* those with the same one have their steps one after the other */
};

/** handshake_new() - begin; tunnel_shaken() is called in the tunnel's thread, not before this
 * returns. Return: 0; -ENOMEM. */
_must_check_ int handshake_new(const struct handshake_config *config,
			       struct tunnel_handshake **ret);
/** handshake_free() - the tunnel wants it no more; what of TLS, socket and buffers is still there
 * goes with it, in the handshaker's thread if it is there. Takes NULL. Return: NULL. */
struct tunnel_handshake *handshake_free(struct tunnel_handshake *h);

/** handshake_start() - in the thread where it is made. */
void handshake_start(struct tunnel_handshake *h);
/** handshake_release() - memory, TLS and socket, now. */
void handshake_release(struct tunnel_handshake *h);
/** handshake_steps_init() - of a new scratch. */
void handshake_steps_init(struct handshake_steps *s);

/** handshaker_send() - to the thread of h->desk. Return: 0; -EAGAIN there is no thread. */
_must_check_ int handshaker_send(struct tunnel_handshake *h);
/** handshaker_return() - it is over: to its tunnel's loop. In the handshaker's thread. */
void handshaker_return(struct tunnel_handshake *h);
/** handshaker_recall() - Return: false: it is with the thread, which frees it. */
_must_check_ bool handshaker_recall(struct tunnel_handshake *h);

/** tunnel_shaken() - @h, which is the tunnel's, is over and here. */
void tunnel_shaken(struct hbone_tunnel *t, struct tunnel_handshake *h);

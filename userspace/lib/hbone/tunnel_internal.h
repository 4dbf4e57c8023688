/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* tunnel_internal - what tunnel.c and tunnel_input.c share. */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/loop.h"
#include "hbone/handshake.h"
#include "hbone/pace.h"
#include "hbone/scratch.h"
#include "hbone/tunnel.h"

/* Reads of one PING interval that make a tunnel busy: it keeps OpenSSL's two buffers of 17 KB,
 * which others take and give back with each record, at a tenth of a record's price. To open all the
 * streams that fit into it does not make a tunnel busy. */
#define TUNNEL_BUSY_READS 512
#define TUNNEL_TEXT_MAX   HANDSHAKE_TEXT_MAX

enum tunnel_state {
	TUNNEL_CONNECTING,
	TUNNEL_HANDSHAKE,
	TUNNEL_OPEN,
	TUNNEL_CLOSING,
};

struct hbone_tunnel {
	struct loop *loop;
	struct hbone_scratch *scratch;
	struct loop_fd watch;
	struct loop_timer timer;
	struct loop_timer later; /* something is queued that nobody waits for */
	struct loop_timer rest;  /* nothing is read: pace.h */
	struct loop_task flush;
	struct loop_task more; /* of what is held */
	struct loop_task close;
	/* Socket and TLS are the handshake's while there is one. */
	struct tunnel_handshake *handshake;
	struct hbone_desk *desk; /* where it is made; NULL: in the loop */
	uint64_t share;
	struct scratch_tls *tls;
	struct hbone_session *session;
	const struct hbone_tunnel_ops *ops;
	void *arg;
	enum tunnel_state state;
	enum hbone_stage stage;
	bool is_server;
	bool is_draining;    /* shutdown notice sent, GOAWAY due at the timer */
	bool is_goaway_sent; /* ours */
	bool is_peer_closed; /* close_notify or FIN */
	bool is_abandoned;
	int error;
	uint64_t ping_interval_us;
	uint64_t pong_timeout_us;
	uint64_t ping_us; /* when the PING that is pending was sent */
	uint64_t recv_us; /* when the peer was last heard of */
	struct pace pace;
	unsigned int reads; /* in this PING interval, up to TUNNEL_BUSY_READS */
	size_t read;        /* bytes that pace has not heard of */
	struct buf held;    /* plain text that waits for the next turn; nothing is read meanwhile */
	struct buf unsent;
	char text[TUNNEL_TEXT_MAX];
};

/** tunnel_fail() - the first reason wins; the work is done at the end of the turn, under no
 * callback of ours. */
void tunnel_fail(struct hbone_tunnel *t, int error, const char *text);
/** tunnel_arm() - watch for what there is room for. */
void tunnel_arm(struct hbone_tunnel *t);
/** tunnel_flush_cipher() - records made by the last calls into OpenSSL go to the socket, what it
 * does not take is kept. Return: as scratch_send(). */
int tunnel_flush_cipher(struct hbone_tunnel *t);
/** tunnel_flush_round() - fill the buffer from the streams, encrypt it, write it. Return: 1 wrote
 * something; 0 nothing left; -errno. */
int tunnel_flush_round(struct hbone_tunnel *t);
/** tunnel_read() - the socket has something: one read, and what fits into a turn of it. */
void tunnel_read(struct hbone_tunnel *t);
/** tunnel_read_behind() - what has come behind the handshake. */
void tunnel_read_behind(struct hbone_tunnel *t, const struct buf *behind);
/** tunnel_more() - the next part of what is held; the task's. */
void tunnel_more(struct loop_task *task);

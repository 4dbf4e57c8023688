/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* tunnel - an HBONE session over TLS on one TCP connection. Thread: that of its loop. It frees
 * itself: after on_closed the pointer is dead, and before it every stream has had its on_close.
 * Deadlines of its own: connecting, handshake, PING. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/cleanup.h"
#include "hbone/session.h"

#define HBONE_CONNECT_TIMEOUT_US   (10 * 1000000ULL)
#define HBONE_HANDSHAKE_TIMEOUT_US (10 * 1000000ULL)
#define HBONE_PING_INTERVAL_US     (10 * 1000000ULL)
#define HBONE_PONG_TIMEOUT_US      (20 * 1000000ULL)
/* From the notice to the GOAWAY that names the last stream: a CONNECT on its way still gets in. */
#define HBONE_NOTICE_US (1 * 1000000ULL)

struct hbone_desk;    /* opaque: handshaker.h */
struct hbone_scratch; /* opaque: the buffers that all tunnels of a thread share */
struct hbone_tunnel;  /* opaque */
struct loop;

/** hbone_scratch_new() - one per thread; must outlive its tunnels. Return: 0; -ENOMEM. */
_must_check_ int hbone_scratch_new(struct hbone_scratch **ret);
struct hbone_scratch *hbone_scratch_free(struct hbone_scratch *s);
DEFINE_CLEANUP(struct hbone_scratch *, hbone_scratch_free);

/* How far it had come. */
enum hbone_stage {
	HBONE_STAGE_CONNECT, /* TCP */
	HBONE_STAGE_TLS,
	HBONE_STAGE_OPEN, /* HTTP/2 */
};

struct hbone_tunnel_ops {
	/* Server: see struct hbone_session_ops. */
	int (*on_connect)(void *arg, int32_t id, const struct hbone_head *head);
	/* Handshake done, the peer is verified, and not refused by now; client: streams may be
	 * opened. */
	void (*on_ready)(void *arg);
	/* No new streams from now on; may be NULL. */
	void (*on_goaway)(void *arg);
	/* It is over. @error: 0 or -errno, of an open one -EPROTO: the peer broke HTTP/2, -EDQUOT:
	 * it flooded, -ECONNABORTED: it broke off in a rest (pace.h); @text: for the log, borrowed,
	 * "" when all is well. */
	void (*on_closed)(void *arg, enum hbone_stage stage, int error, const char *text);
};

struct hbone_tunnel_config {
	struct loop *loop;             /* borrowed */
	struct hbone_scratch *scratch; /* borrowed */
	/* Borrowed: whose thread makes the handshake; NULL: the loop, a step in a turn. */
	struct hbone_desk *desk;
	/* Whose handshake it is: each share has its turn, however many others have. */
	uint64_t share;
	int fd;   /* taken on success; client: connect(2) has been called */
	SSL *ssl; /* taken on success; not yet attached to anything */
	bool is_server;
	const struct hbone_tunnel_ops *ops; /* borrowed */
	void *arg;
	uint64_t ping_interval_us; /* 0: HBONE_PING_INTERVAL_US */
	uint64_t pong_timeout_us;  /* 0: HBONE_PONG_TIMEOUT_US */
};

/** hbone_tunnel_new() - start the handshake (client: when connected). No callback comes before it
 * returns. Return: 0; -ENOMEM; -errno of epoll_ctl. */
_must_check_ int hbone_tunnel_new(const struct hbone_tunnel_config *config,
				  struct hbone_tunnel **ret);

/** hbone_tunnel_session() - Return: borrowed; NULL before on_ready and while closing. */
struct hbone_session *hbone_tunnel_session(struct hbone_tunnel *t);
/** hbone_tunnel_is_blocked() - its socket takes no more for now: another tunnel would be faster. */
bool hbone_tunnel_is_blocked(const struct hbone_tunnel *t);
/** hbone_tunnel_peer_identity() - the verified peer's SPIFFE ID, once ready. Return: 0; -errno of
 * tls_peer_identity(). */
_must_check_ int hbone_tunnel_peer_identity(struct hbone_tunnel *t, char *ret, size_t size);

/** hbone_tunnel_refusal() - would its peer still be let in? tls_peer_refusal(); 0 unless open. */
_must_check_ int hbone_tunnel_refusal(const struct hbone_tunnel *t, const char **ret_text);

/** hbone_tunnel_drain() - take no new streams, let those under way finish, then close. */
void hbone_tunnel_drain(struct hbone_tunnel *t);
/** hbone_tunnel_close() - close at the end of this turn of the loop; streams are reset. May be
 * called anywhere. @text is static. */
void hbone_tunnel_close(struct hbone_tunnel *t, int error, const char *text);
/** hbone_tunnel_abandon() - as close, but on_closed is not called: @arg may be freed now. Streams
 * still get on_close. */
void hbone_tunnel_abandon(struct hbone_tunnel *t);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* session - one HTTP/2 connection that carries CONNECT streams (HBONE), without a socket: bytes in
 * by hbone_session_recv(), bytes out by hbone_session_send(). Owner: the tunnel. One thread.
 *
 * Streams are embedded in their owner's struct. The owner is called back from within recv and send;
 * in a callback it may call any hbone_stream_*() function and may free the stream's memory after
 * on_close or hbone_stream_reset(); it must not call hbone_session_recv(), _send() or _free().
 *
 * Flow: on_read fills the tunnel's own buffer (no copy); on_data hands bytes of the receive buffer
 * over, and the windows reopen only by hbone_stream_consume(), so that a slow reader costs at most
 * HBONE_STREAM_WINDOW. A peer that only costs (header blocks that unfold, streams that are reset
 * before their answer, requests and frames that lead nowhere) loses the connection. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "hbone/head.h"

#define HBONE_STREAM_WINDOW      (512 * 1024)
#define HBONE_FRAME_MAX          (256 * 1024)
#define HBONE_SERVER_STREAMS_MAX 200
/* Room for every stream's whole window: readers that sleep never block the others of the tunnel. */
#define HBONE_CONNECTION_WINDOW (HBONE_SERVER_STREAMS_MAX * HBONE_STREAM_WINDOW)
/* What a server may be assumed to take before its SETTINGS say so; after that it is what they say,
 * at most as many as our own servers take. */
#define HBONE_CLIENT_STREAMS_MAX 100
/* hbone_session_send() wants at least this much room. */
#define HBONE_SEND_MIN (64 * 1024)

/* HTTP/2 error codes that we send or judge (RFC 9113, section 7). */
enum hbone_error {
	HBONE_NO_ERROR = 0,
	HBONE_INTERNAL_ERROR = 2,
	/* ours, never on the wire */
	HBONE_PEER_SILENT = 0x10000, /* no PING is answered */
	HBONE_NO_MEMORY = 0x10001,   /* we had none for the session itself */
	HBONE_REFUSED_STREAM = 7,
	HBONE_CANCEL = 8,
	HBONE_CONNECT_ERROR = 10,
};

struct hbone_session; /* opaque */
struct hbone_stream;

struct hbone_stream_ops {
	/* Client: the answer's head. 200: bytes flow. Anything else: the stream will end. */
	void (*on_response)(struct hbone_stream *st, const struct hbone_head *head);
	/* Read up to @n bytes of the application into @p. Return: > 0; 0 end (END_STREAM goes out);
	 * -EAGAIN: call hbone_stream_resume() when there is more; any other -errno resets the
	 * stream (on_close follows). */
	ssize_t (*on_read)(struct hbone_stream *st, uint8_t *p, size_t n);
	/* Bytes have come; valid during the call only. The owner takes all of them. */
	void (*on_data)(struct hbone_stream *st, const struct iovec *iov, int n_iov, size_t len);
	/* The peer's END_STREAM: no more on_data. */
	void (*on_eof)(struct hbone_stream *st);
	/* The stream is over, both ways done (@code HBONE_NO_ERROR) or reset. Last callback.
	 * HBONE_REFUSED_STREAM: nobody has seen it, it may be opened again elsewhere. */
	void (*on_close)(struct hbone_stream *st, uint32_t code);
};

/** struct hbone_stream - embedded, zeroed before first use; the fields belong to session.c. */
struct hbone_stream {
	const struct hbone_stream_ops *ops;
	struct hbone_session *session; /* NULL: not open */
	int32_t id;
	uint32_t
		unconsumed; /* bytes handed over and not yet given back by hbone_stream_consume() */
	bool is_sleeping;   /* on_read said -EAGAIN */
	bool is_answered;   /* server: 200 has been said */
	bool is_talking;    /* server: DATA has come */
	uint32_t answered_in; /* server: hbone_session.recv_nr when it was answered within recv */
	uint32_t heard_in;    /* hbone_session.read_nr when DATA came last */
	uint32_t opened_in;   /* and when it began */
	struct list _link;    /* in the session's list */
};

struct hbone_session_ops {
	/* Server: a well-formed CONNECT. Either hbone_stream_bind() and sooner or later
	 * hbone_stream_respond(), or hbone_session_reject(). Return: 0; -EDQUOT: the peer floods,
	 * and loses the connection; any other -errno refuses the stream (REFUSED_STREAM). */
	int (*on_connect)(void *arg, int32_t id, const struct hbone_head *head);
	/* Something waits to be sent: call hbone_session_send() before long. Also called from
	 * within recv. */
	void (*on_output)(void *arg);
	/* The peer takes no new streams. */
	void (*on_goaway)(void *arg);
	/* Something waits that nobody waits for: call hbone_session_send() within some
	 * milliseconds, if nothing else makes it go before. NULL: on_output is called. */
	void (*on_output_later)(void *arg);
};

/**
 * hbone_session_new() - client or server side; queues the SETTINGS and the connection's
 * WINDOW_UPDATE.
 * @ops, @arg: borrowed for the session's life.
 * Return: 0; -ENOMEM.
 */
_must_check_ int hbone_session_new(bool is_server, const struct hbone_session_ops *ops, void *arg,
				   struct hbone_session **ret);
/** hbone_session_lost() - what streams will be told when the session is freed. @s: or NULL. */
void hbone_session_lost(struct hbone_session *s, uint32_t code);
/** hbone_session_close_some() - of a session that is lost: close @n streams, as
 * hbone_session_free(). Return: there are more. */
bool hbone_session_close_some(struct hbone_session *s, unsigned int n);
/** hbone_session_free() - closes every stream first (on_close with HBONE_INTERNAL_ERROR, or
 * what hbone_session_lost() said). Takes NULL. Return: NULL. */
struct hbone_session *hbone_session_free(struct hbone_session *s);
DEFINE_CLEANUP(struct hbone_session *, hbone_session_free);

/** hbone_session_recv() - bytes from the peer; what stands in @p afterwards is nothing. Return: 0;
 * -EPROTO: connection error, send what is queued, then close; -EDQUOT: the same, for a peer that
 * floods; -ENOMEM. */
_must_check_ int hbone_session_recv(struct hbone_session *s, uint8_t *p, size_t n);
/* What hbone_session_recv_some() leaves at most. */
#define HBONE_LEFT_MAX (32 * 1024)
/** hbone_session_recv_some() - as hbone_session_recv(), but where frames are small, 128 bytes on
 * average, only as many as take 100 us: the rest is to be given again, and then perhaps more.
 * Return: how many bytes were taken, whole frames; as hbone_session_recv(). */
_must_check_ ssize_t hbone_session_recv_some(struct hbone_session *s, uint8_t *p, size_t n);
/**
 * hbone_session_send() - fill @p with what is due; calls on_read.
 * @cap:   room, at least HBONE_SEND_MIN.
 * @ret_n: bytes made; 0: nothing left for now.
 * Return: 0; -EPROTO, -ENOMEM: the connection is lost.
 */
_must_check_ int hbone_session_send(struct hbone_session *s, uint8_t *p, size_t cap, size_t *ret_n);
/** hbone_session_is_done() - nothing more to read or to write: close the connection. */
bool hbone_session_is_done(const struct hbone_session *s);
/** hbone_session_fault() - once it is done: what the peer did. Return: 0: nothing wrong; -EPROTO:
 * it broke HTTP/2; -EDQUOT: it flooded. */
int hbone_session_fault(const struct hbone_session *s);
/** hbone_session_is_wasteful() - the peer has sent half of the header blocks for nothing that would
 * make it a flood: to end now is no honest end. @s: or NULL. */
bool hbone_session_is_wasteful(const struct hbone_session *s);
/** hbone_session_is_idle() - no stream is open, and the peer may leave without a word. */
bool hbone_session_is_idle(const struct hbone_session *s);
/** hbone_session_queued() - frames (not DATA) that wait for hbone_session_send(): stop reading when
 * the peer makes too many. */
size_t hbone_session_queued(const struct hbone_session *s);

/** hbone_session_frames() - that have come, in all; 32 bytes of a header block are one more. */
uint64_t hbone_session_frames(const struct hbone_session *s);
/** hbone_session_repeats() - of them DATA of streams that had some in the same read already. */
uint64_t hbone_session_repeats(const struct hbone_session *s);
/** hbone_session_stream_count() - streams that are open now. */
uint32_t hbone_session_stream_count(const struct hbone_session *s);
/** hbone_session_streams_max() - client: how many streams this tunnel may carry: ours and the
 * peer's limit. */
uint32_t hbone_session_streams_max(const struct hbone_session *s);
/** hbone_session_is_usable() - client: a new stream may be opened (no GOAWAY, ids left, below the
 * limit). */
bool hbone_session_is_usable(const struct hbone_session *s);

/** hbone_session_ping() - send a PING. Return: 0; -EBUSY: the last one is not answered yet;
 * -ENOMEM. */
int hbone_session_ping(struct hbone_session *s);
/** hbone_session_is_ping_pending() - a PING waits for its answer. */
bool hbone_session_is_ping_pending(const struct hbone_session *s);
/** hbone_session_shutdown_notice() - server: GOAWAY with the highest id: no new streams please,
 * those under way are kept. */
int hbone_session_shutdown_notice(struct hbone_session *s);
/** hbone_session_goaway() - GOAWAY with the last id that was served; streams go on, the session is
 * done when they end. */
int hbone_session_goaway(struct hbone_session *s, uint32_t code);

/** struct hbone_connect - the request's headers; strings borrowed for the call; NULL: left out. */
struct hbone_connect {
	const char *authority;
	const char *forwarded;
	const char *baggage;
	const char *traceparent;
};

/** hbone_stream_open() - client: send CONNECT; the application's bytes follow it at once. Return:
 * 0; -EBUSY not usable; -ENOMEM. */
_must_check_ int hbone_stream_open(struct hbone_session *s, struct hbone_stream *st,
				   const struct hbone_stream_ops *ops,
				   const struct hbone_connect *c);
/** hbone_stream_bind() - server, within on_connect: callbacks of stream @id go to @st. Return: 0;
 * -ENOENT. */
_must_check_ int hbone_stream_bind(struct hbone_session *s, struct hbone_stream *st,
				   const struct hbone_stream_ops *ops, int32_t id);
/** hbone_stream_respond() - server: 200 (bytes flow) or an error status: answered
 * and forgotten, no callback follows and @st may be freed. A client whose DATA came with its
 * CONNECT does not wait for the 200: it goes along with the first bytes back. @baggage may be NULL.
 * Return: 0; -ENOTCONN; -ENOMEM. */
int hbone_stream_respond(struct hbone_stream *st, int status, const char *baggage);
/** hbone_session_reject() - server, within on_connect: answer with @status and forget the stream.
 */
int hbone_session_reject(struct hbone_session *s, int32_t id, int status);
/** hbone_stream_resume() - on_read has bytes again; harmless when it was not asleep. */
void hbone_stream_resume(struct hbone_stream *st);
/** hbone_stream_consume() - @n bytes of on_data have been delivered: reopen the windows. Harmless
 * after the close. */
void hbone_stream_consume(struct hbone_stream *st, size_t n);
/** hbone_session_each_stream() - of those that are open. @fn may reset its own. */
void hbone_session_each_stream(struct hbone_session *s,
			       void (*fn)(void *arg, struct hbone_stream *st), void *arg);
/** hbone_stream_reset() - RST_STREAM; no callback follows and @st may be freed. Harmless when not
 * open. */
void hbone_stream_reset(struct hbone_stream *st, uint32_t code);

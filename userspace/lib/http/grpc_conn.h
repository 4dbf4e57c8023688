/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* grpc_conn - one HTTP/2 connection with gRPC calls on it: what client and server share. Only
 * grpc_*.c include this. */
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include "base/buf.h"
#include "base/list.h"
#include "http/blocks.h"
#include "http/grpc.h"

#define GRPC_CALLS_MAX    100  /* per connection */
#define GRPC_METADATA_MAX 32   /* headers kept per call */
#define GRPC_HEADERS_MAX  8192 /* bytes of them */
/* Of one block: padding, a priority and heads of frames come on top. */
#define GRPC_BLOCK_MAX (GRPC_HEADERS_MAX + 512)
/* Of blocks that lead nowhere, until our next PING: a node that starts makes as many calls as there
 * may be, with a token in each, before the first is let in. */
#define GRPC_BLOCKS_MAX (GRPC_CALLS_MAX * 2560)

#define GRPC_STREAM_WINDOW (1024 * 1024)

struct grpc_header {
	char *name;
	char *value;
};

struct grpc_conn;

/* What differs between the two sides. */
struct grpc_conn_ops {
	/** on_headers() - a header block is complete. */
	void (*on_headers)(struct grpc_call *c, bool is_end);
	/** on_peer_end() - END_STREAM arrived, behind data or headers. */
	void (*on_peer_end)(struct grpc_call *c);
	/** on_closed() - the connection is dead; calls are gone; free it here. */
	void (*on_closed)(struct grpc_conn *conn, int error);
};

struct grpc_conn {
	struct loop *loop;
	struct loop_fd w;
	struct loop_task flush_task;
	struct loop_task read_task; /* TLS has taken more from the socket than was read */
	struct loop_timer ping_timer;
	nghttp2_session *session;
	SSL *ssl;      /* owned; NULL: plain */
	char why[256]; /* it died, where an error number does not say it */
	const struct grpc_conn_ops *ops;
	void *owner;
	struct grpc_peer peer;
	struct list link; /* in the server's list */
	struct list calls;
	struct list graveyard; /* calls that are over, freed when no callback runs */
	size_t n_calls;
	struct http_blocks blocks;
	struct buf out;     /* what the socket did not take */
	unsigned int depth; /* callbacks in progress */
	bool is_server;
	bool is_dead;
	bool is_freed;
	bool is_ping_open;
	bool is_write_wanted; /* by TLS, to go on */
	bool is_alive;        /* bytes came since the last ping */
	bool is_stranger;     /* no call of it was let in: it does not live long */
};

struct grpc_call {
	struct grpc_conn *conn;
	struct list link;
	int32_t stream_id;
	const struct grpc_call_ops *ops;
	void *arg;
	struct loop_timer deadline;
	size_t max_message;
	struct buf rx;
	struct buf tx;
	struct grpc_header headers[GRPC_METADATA_MAX];
	size_t n_headers;
	size_t header_bytes;
	uint32_t block_len;    /* of the headers' block; 0: it was no waste */
	bool is_over;          /* gone for the user */
	uint32_t held_bytes;   /* that came while it was held */
	bool is_held;          /* server: messages wait in rx */
	bool has_held_end;     /* and the other side's end behind them */
	bool is_ended;         /* we send no more messages */
	bool is_finishing;     /* server: trailers follow the last message */
	bool has_sent_headers; /* server */
	bool has_response;     /* client: the first header block was fine */
	enum grpc_status finish_status;
	char *finish_message;
};

/** grpc_conn_new() - a connection without a socket: calls may be made, and wait. The caller sets
 * conn->owner before it returns to the loop. */
_must_check_ int grpc_conn_new(struct loop *loop, bool is_server, const struct grpc_conn_ops *ops,
			       struct grpc_conn **ret);
/** grpc_conn_attach() - @fd, connected or connecting, and @ssl (NULL: plain) are taken on success.
 */
_must_check_ int grpc_conn_attach(struct grpc_conn *conn, int fd, SSL *ssl);
/** grpc_conn_fail() - there will be no socket: everything ends as if it had been lost. @why: a
 * sentence; "": the error says enough. */
void grpc_conn_fail(struct grpc_conn *conn, int error, const char *why);
/** grpc_conn_free() - close it; calls end without a word to their users. In a callback it goes once
 * that has returned. Takes NULL. */
void grpc_conn_free(struct grpc_conn *conn);
/** grpc_conn_enter() and _leave() - around every call into the owner's code; what died meanwhile is
 * freed by the last leave. */
void grpc_conn_enter(struct grpc_conn *conn);
void grpc_conn_leave(struct grpc_conn *conn);
/** grpc_conn_kick() - write soon. */
void grpc_conn_kick(struct grpc_conn *conn);

/** grpc_call_new() - one that has no stream yet. Owner: the connection, which frees it some time
 * after grpc_call_bury(). Return: 0; -ENOMEM. */
_must_check_ int grpc_call_new(struct grpc_conn *conn, struct grpc_call **ret);
/** grpc_call_bury() - the call is over for its user: unlink it; no further events. */
void grpc_call_bury(struct grpc_call *c);
/** grpc_call_end() - bury and tell the user. */
void grpc_call_end(struct grpc_call *c, int status, const char *message);
/** grpc_call_reset() - RST_STREAM, if the stream is there. */
void grpc_call_reset(struct grpc_call *c, uint32_t code);
/** grpc_call_read() - nghttp2's data source: what grpc_call_send() queued, then trailers. */
ssize_t grpc_call_read(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t len,
		       uint32_t *data_flags, nghttp2_data_source *source, void *user_data);
/** grpc_call_sent() - of nghttp2, after each frame: a stream that is answered needs to say no more.
 */
int grpc_call_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user_data);
/** grpc_call_receive() - bytes of DATA frames; delivers whole messages. */
void grpc_call_receive(struct grpc_call *c, const uint8_t *data, size_t len);
/** grpc_call_peer_end() - server: the other side sends no more. */
void grpc_call_peer_end(struct grpc_call *c);
/** grpc_call_add_header() - copied. Return: 0; -ENOBUFS: too many, or too long; -ENOMEM. */
_must_check_ int grpc_call_add_header(struct grpc_call *c, const uint8_t *name, size_t name_len,
				      const uint8_t *value, size_t value_len);
/** grpc_call_clear_headers() - forget them: those of the next block come. */
void grpc_call_clear_headers(struct grpc_call *c);
/** grpc_call_open_window() - server: the other side may say what it likes, as it was let in. */
void grpc_call_open_window(struct grpc_call *c);
/** grpc_call_served() - its headers were no waste: it was let in, or answered. */
void grpc_call_served(struct grpc_call *c);
/** grpc_call_header() - Return: its value, borrowed until they are cleared; NULL: there is none. */
const char *grpc_call_header(const struct grpc_call *c, const char *name);

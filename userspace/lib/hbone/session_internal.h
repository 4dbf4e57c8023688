/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* session_internal - what session.c, session_recv.c and stream.c share. */
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "hbone/frames.h"
#include "hbone/session.h"
#include "http/blocks.h"

#define GATHER_MAX 64

struct hbone_session {
	nghttp2_session *h2;
	const struct hbone_session_ops *ops;
	void *arg;
	struct list streams; /* struct hbone_stream._link */
	uint32_t stream_count;
	bool is_server;
	bool is_goaway; /* the peer takes no new streams */
	bool is_ping_pending;
	int32_t unsent_id; /* client: of the last CONNECT that could not be sent */
	/* how often the peer may still do what costs us and brings nobody anything */
	unsigned int calm;
	unsigned int patience; /* with frames that bring nobody anything */
	uint32_t windows;      /* WINDOW_UPDATEs that may follow from what was sent */
	struct http_blocks blocks;
	uint64_t frames;
	uint64_t repeats;
	bool is_flooded;
	bool is_broken;     /* the peer has been told of its error, by GOAWAY */
	uint32_t lost_code; /* what streams are told when the session goes */
	bool is_receiving;
	bool is_window_changed;  /* by the peer, in the recv that runs */
	uint32_t recv_nr;        /* of the recv that runs or comes next, from 1 */
	uint32_t read_nr;        /* of what was read at once, of which a recv may take a part */
	struct frames frames_at; /* where what comes next is */
	uint32_t waiting;        /* answers of this recv whose stream has said nothing yet */
	uint32_t lazy;           /* queued answers that nobody waits for */
	uint8_t *out;            /* buffer of the send that runs */
	size_t out_cap;
	size_t out_len;
	struct hbone_stream *gather; /* whose bytes iov holds; NULL: none */
	size_t gather_len;
	int n_iov;
	struct iovec iov[GATHER_MAX];
	struct hbone_head head; /* being received; only one at a time on a connection */
};

/** session_stream() - NULL: not one of ours any more. */
struct hbone_stream *session_stream(struct hbone_session *s, int32_t id);
/** session_gather_flush() - hand the bytes collected for one stream over. */
void session_gather_flush(struct hbone_session *s);
/** session_hear_data() - the callback for DATA. */
void session_hear_data(nghttp2_session_callbacks *c);
/** session_notify() - tell the owner when there is something to send. */
void session_notify(struct hbone_session *s);
void session_link(struct hbone_session *s, struct hbone_stream *st,
		  const struct hbone_stream_ops *ops, int32_t id);
/** session_unlink() - forget it; what it had not delivered no longer holds the connection's window.
 */
void session_unlink(struct hbone_session *s, struct hbone_stream *st);
/** session_answered() - 200 is queued for @st: see to it that it goes out, at once or later. */
void session_answered(struct hbone_session *s, struct hbone_stream *st);
/** session_heard() - server: the first DATA of @st is here. */
void session_heard(struct hbone_session *s, struct hbone_stream *st);
/** session_make_options() - for nghttp2_session_*_new2(); freed by nghttp2_option_del(). Return: 0;
 * -ENOMEM. */
_must_check_ int session_make_options(nghttp2_option **ret);
/** session_submit_settings() - queue SETTINGS and the connection's window. Return: 0; -ENOMEM. */
_must_check_ int session_submit_settings(struct hbone_session *s);
/** session_calm_renew() - a new session, or a while has passed. */
void session_calm_renew(struct hbone_session *s);
/** session_flooded() - the peer loses the connection. */
void session_flooded(struct hbone_session *s);
/** session_lose_calm() - the peer made us do something for nothing. Sets is_flooded when it was
 * once too often. */
void session_lose_calm(struct hbone_session *s);
/** session_earn_calm() - a stream was answered, or opened by us. */
void session_earn_calm(struct hbone_session *s);
/** session_calm_opened() - client: a stream was opened, of which the peer will say something. */
void session_calm_opened(struct hbone_session *s);
/** session_frame_invalid() - an error of one stream, as nghttp2's callback wants it: it has been
 * answered by a reset. */
int session_frame_invalid(nghttp2_session *h2, const nghttp2_frame *frame, int code, void *arg);
/** session_data_sent() - a DATA frame of @n bytes. */
void session_data_sent(struct hbone_session *s, size_t n);
/** session_data_heard() - a whole DATA frame of a stream that is open. Sets is_flooded when it was
 * empty once too often. */
void session_data_heard(struct hbone_session *s, const nghttp2_frame *frame);
/** session_block_served() - the header block that is here was no waste. */
void session_block_served(struct hbone_session *s);
/** session_list_grown() - a field more is in the header list. Return: 0; or what ends the
 * connection, as nghttp2's callback wants it. */
_must_check_ int session_list_grown(struct hbone_session *s);
/** session_on_begin_frame() - counts, as nghttp2's callback wants it. */
int session_on_begin_frame(nghttp2_session *h2, const nghttp2_frame_hd *head, void *arg);
/** session_submit_error() - answer @id with @status and no body, and forget its owner. Return: 0;
 * -ENOMEM. */
int session_submit_error(struct hbone_session *s, int32_t id, int status);
/** session_read_data() - the data source of every stream, as nghttp2 wants it. */
ssize_t session_read_data(nghttp2_session *h2, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
			  nghttp2_data_source *source,
			  void *arg); /* NOLINT(readability-function-size) */

static inline nghttp2_nv session_nv(const char *name, const char *value, uint8_t flags)
{
	return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
			    .value = (uint8_t *)(uintptr_t)value,
			    .namelen = strlen(name),
			    .valuelen = strlen(value),
			    .flags = (uint8_t)(flags | NGHTTP2_NV_FLAG_NO_COPY_NAME)};
}

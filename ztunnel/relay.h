/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* relay - moves bytes between an application's TCP socket and an HBONE stream, END_STREAM for FIN
 * and RST_STREAM for RST, each way on its own. Embedded in its connection. Thread: its worker's.
 *
 * The socket is watched edge-triggered: `is_readable` and `is_writable` remember what the kernel
 * said last, so that a message costs one read, one write and no epoll_ctl. Room to write is watched
 * for only once there was none: it would else wake us once for nothing. Bytes that the
 * application does not take are kept in `pending` and hold the stream's window: one window at most.
 * There wait, too, the few bytes that come after others in one turn of the loop, until its end: a
 * peer that has its streams take turns, a byte each, would else make us write each of them. */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/loop.h"
#include "hbone/session.h"

/* More than that cannot be said again: a stream that is refused after it is lost. */
#define RELAY_REPLAY_MAX (64 * 1024)

struct relay;

struct relay_ops {
	/* The CONNECT's answer (client side only). May reset the relay. */
	void (*on_response)(struct relay *r, const struct hbone_head *head);
	/* The stream ended before relay_let_go(). True: another will be opened, the socket stays.
	 * May be NULL. */
	bool (*on_unanswered)(struct relay *r, uint32_t code);
	/* Bytes have moved: to_stream from the application, or to_app. */
	void (*on_bytes)(struct relay *r, uint64_t to_stream, uint64_t to_app);
	/* It is over and the socket is closed; the last callback, @r may be freed. @error: 0 both
	 * ways ended well; -ECONNRESET the application or the peer reset it; @code: the stream's,
	 * when the peer's side ended it. */
	void (*on_done)(struct relay *r, int error, uint32_t code);
};

struct relay_replay; /* opaque */

struct relay {
	struct loop *loop;
	struct loop_fd app; /* fd owned; -EBADF: not connected yet */
	struct hbone_stream stream;
	struct loop_timer
		linger; /* reset is due: what was read before it gets a moment to go out */
	struct loop_task
		drain;      /* what was not worth a write of its own goes with the turn's last */
	struct buf pending; /* for the application */
	struct relay_replay *replay; /* what the application said before the CONNECT was answered */
	const struct relay_ops *ops;
	uint64_t sent;     /* bytes that the application's socket took */
	uint64_t turn;     /* of the loop, that had the last write for a stream's bytes */
	bool is_nagling;   /* TCP_NODELAY is not set: the relay does it once it is needed */
	bool is_connected; /* the application's socket may be written to */
	bool is_held;      /* the application's bytes wait: relay_let_go() */
	bool is_readable;
	bool is_writable;
	bool is_urgent;      /* a read may end before a byte that is marked so: there may be more */
	bool is_hup;         /* the kernel saw FIN or an error: read until the end */
	bool is_app_eof;     /* the application's FIN was read */
	bool is_app_broken;  /* the application takes nothing any more */
	bool is_stream_eof;  /* the peer's END_STREAM */
	bool is_shut;        /* the peer's END_STREAM was passed on, or the close will do it */
	bool is_fin_first;   /* our FIN to the application is out, and was before its own */
	bool is_stream_over; /* both ways of the stream ended well */
	bool is_done;
};

/** relay_init() - @r zeroed. */
void relay_init(struct relay *r, struct loop *loop, const struct relay_ops *ops);
/** relay_watch() - take the application's socket and watch it. @is_connected: false while
 * connect(2) runs. Return: 0; -errno, @fd not taken. */
_must_check_ int relay_watch(struct relay *r, int fd, bool is_connected,
			     void (*on_event)(struct loop_fd *w, uint32_t events));
/** relay_on_event() - the on_event of a connected application socket. @r may be gone after it. */
void relay_on_event(struct loop_fd *w, uint32_t events);
/** relay_connected() - the socket is connected: deliver what has come meanwhile. */
void relay_connected(struct relay *r);
/** relay_keep() - from now on remember what the application says, up to RELAY_REPLAY_MAX bytes, so
 * that it can be said again to another stream. Once is enough. Without memory: not remembered. */
void relay_keep(struct relay *r);
/** relay_can_replay() - relay_keep() was called, and everything since is remembered. */
bool relay_can_replay(const struct relay *r);
/** relay_rewind() - the stream is gone, the next one gets everything from the beginning. */
void relay_rewind(struct relay *r);
/** relay_take_said() - what is remembered, for a way without a tunnel. @into: empty, the caller's.
 */
void relay_take_said(struct relay *r, struct buf *into);
/** relay_let_go() - the CONNECT was answered: what the application has said may go if it was held,
 * and is remembered no longer than until this stream has had all of it. */
void relay_let_go(struct relay *r);
/** relay_stream_ops - for hbone_stream_open() and hbone_stream_bind() of r->stream. */
extern const struct hbone_stream_ops relay_stream_ops;
/** relay_reset() - RST both ways, close, on_done is not called. Harmless when done. */
void relay_reset(struct relay *r, uint32_t code);
/** relay_reset_on_close() - @is_reset: closing @fd, also by a crash, sends an RST: the application
 * must never take half of its data for all of it. Switched off again before a good end. */
void relay_reset_on_close(int fd, bool is_reset);
/** relay_close_rst() - close @fd with an RST, whatever is queued. Return: -EBADF. */
int relay_close_rst(int fd);

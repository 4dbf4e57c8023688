/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* websocket - a client's side of RFC 6455, so far as a command's streams need it. Sans I/O; memory
 * is bounded by the longest message. */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"

#define WEBSOCKET_MESSAGE_MAX (16u << 20)
#define WEBSOCKET_KEY_MAX     32

/** struct websocket_ops - what comes in; borrowed for the call. A result other than 0 ends
 * websocket_feed() with it. */
struct websocket_ops {
	int (*on_message)(void *arg, const uint8_t *data, size_t len);
	int (*on_ping)(void *arg, const uint8_t *data, size_t len);
	int (*on_close)(void *arg);
};

/** struct websocket - zero it before use; websocket_reset() at the end. */
struct websocket {
	struct buf in;      /* a frame that is not whole yet */
	struct buf message; /* fragments of one */
};

/** websocket_feed() - the next bytes. Return: 0; -EBADMSG no WebSocket; -EMSGSIZE; -ENOMEM; what an
 * op returned. After an error only websocket_reset() may follow. */
_must_check_ int websocket_feed(struct websocket *w, const void *data, size_t len,
				const struct websocket_ops *ops, void *arg);
void websocket_reset(struct websocket *w);

#define WEBSOCKET_TEXT   1
#define WEBSOCKET_BINARY 2
#define WEBSOCKET_CLOSE  8
#define WEBSOCKET_PING   9
#define WEBSOCKET_PONG   10
/** websocket_frame() - one whole masked frame of at most 125 bytes, into @out. Return: 0;
 * -EMSGSIZE; -ENOMEM. */
_must_check_ int websocket_frame(struct buf *out, unsigned int opcode, const void *data,
				 size_t len);

/** websocket_key() - a fresh Sec-WebSocket-Key. */
void websocket_key(char key[WEBSOCKET_KEY_MAX]);
/** websocket_accept() - what a server answers to @key. Return: 0; -ENOMEM. */
_must_check_ int websocket_accept(const char *key, char ret[WEBSOCKET_KEY_MAX]);

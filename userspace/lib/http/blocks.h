/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* blocks - how many bytes of HTTP/2 header blocks a peer may make us unpack for nothing: a byte of
 * one may cost as much as a hundred of DATA (names and values of no length, Huffman code,
 * references). Blocks of streams that are closed count, too, which the stack unpacks for the sake
 * of its table and tells nobody of. Owner: a connection. One thread. */
#include <nghttp2/nghttp2.h>
#include <stddef.h>
#include <stdint.h>

/* What a frame costs beside its bytes. */
#define HTTP_BLOCK_FRAME 16

struct http_blocks {
	uint32_t max;     /* bytes of blocks that lead nowhere */
	uint32_t one_max; /* bytes of one block */
	uint32_t left;    /* of @max */
	uint32_t len;     /* of the block that comes, or came last */
};

enum http_block {
	HTTP_BLOCK_FINE,
	HTTP_BLOCK_TOO_LONG, /* no more of the connection's blocks may be unpacked */
	HTTP_BLOCK_TOO_MANY, /* the peer wastes our time */
};

/** http_blocks_renew() - all of it may be wasted again: a new connection, or a while has passed. */
void http_blocks_renew(struct http_blocks *b);
/** http_blocks_begin() - a frame of a block comes, HEADERS or CONTINUATION; nothing of it has been
 * unpacked. */
enum http_block http_blocks_begin(struct http_blocks *b, const nghttp2_frame_hd *head);
/** http_blocks_earn() - @n bytes were no waste. */
void http_blocks_earn(struct http_blocks *b, size_t n);

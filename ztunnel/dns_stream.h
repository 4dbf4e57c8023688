/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dns_stream - DNS messages over TCP: each with its length before it. Thread: the caller's. */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "ztunnel/dns_wire.h"

#define DNS_STREAM_PREFIX 2
/* What is read before something of it is taken. */
#define DNS_STREAM_BUFFER_MAX (2 * (DNS_MESSAGE_MAX + DNS_STREAM_PREFIX))
#define DNS_STREAM_READ_SIZE  4096

/** dns_stream_next() - Return: length of the whole message at the head of @b, with its prefix; 0
 * when there is none yet. */
size_t dns_stream_next(const struct buf *b);
/** dns_stream_put() - append a message. Return: 0; -ENOSPC; -ENOMEM. */
_must_check_ int dns_stream_put(struct buf *b, const uint8_t *p, size_t len);
/** dns_stream_flush() - write what there is. Return: 0; -errno. */
int dns_stream_flush(int fd, struct buf *b);
/** dns_stream_fill() - read what there is, as far as @b has room. Return: 0; 1 at the end; -errno.
 */
_must_check_ int dns_stream_fill(int fd, struct buf *b);

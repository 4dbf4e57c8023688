/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* splice - moves bytes between two TCP sockets as they are: plaintext that arrived for a pod, and
 * what a pod sends outside the mesh. FIN and RST pass each way on their own. Embedded in its
 * connection. Thread: its worker's.
 *
 * Reading from one end stops while the other has unsent bytes: at most one buffer waits per
 * direction. */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/loop.h"

#define SPLICE_READ_MAX (128 * 1024)

struct splice;

struct splice_ops {
	/* Bytes have been delivered: from the first end to the second, or back. */
	void (*on_bytes)(struct splice *s, uint64_t forward, uint64_t back);
	/* Both sockets are closed; the last callback, @s may be freed. @error: 0 or -ECONNRESET. */
	void (*on_done)(struct splice *s, int error);
};

struct splice_end {
	struct loop_fd watch; /* fd owned */
	struct buf pending;   /* for this end */
	bool is_readable;
	bool is_writable;
	bool is_urgent; /* a read may end before a byte that is marked so: there may be more */
	bool is_hup;
	bool is_eof;  /* its FIN was read */
	bool is_shut; /* our FIN to it is out */
};

struct splice {
	struct loop *loop;
	uint8_t *scratch; /* SPLICE_READ_MAX bytes, the worker's */
	struct splice_end ends[2];
	struct loop_task again; /* more to read: the next turn */
	const struct splice_ops *ops;
	bool is_done;
};

/** splice_said() - before splice_start(): the first end has said this already. @said: taken, empty
 * afterwards. @is_eof: and its FIN was read. */
void splice_said(struct splice *s, struct buf *said, bool is_eof);
/** splice_start() - both connected and non-blocking; taken on success. Return: 0; -errno. */
_must_check_ int splice_start(struct splice *s, struct loop *loop, uint8_t *scratch,
			      const int fds[2], const struct splice_ops *ops);
/** splice_reset() - close both with an RST; on_done is not called. Harmless when done or never
 * started. */
void splice_reset(struct splice *s);

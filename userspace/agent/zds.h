/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* zds - the agent's end of the socket to ztunnel (messages: culvert/zds.h). One ztunnel at a time:
 * a newer one that has said HELLO replaces the older. Owner: agent. Thread: loop only. What comes
 * in is checked here, so that callbacks see valid messages only; anything malformed closes the
 * connection. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "culvert/zds.h"

struct zds; /* opaque */

struct zds_ops {
	void (*on_connected)(void *arg); /* a ztunnel has said HELLO; none was connected */
	void (*on_lost)(void *arg);
	void (*on_ack)(void *arg, uint64_t netns_cookie, int error); /* 0 or a positive errno */
	/* `need` has a valid kind, family and count */
	void (*on_need)(void *arg, const struct zds_sockets *need);
	/* `verdict` has a valid kind */
	void (*on_verdict)(void *arg, const struct zds_verdict *verdict);
	void (*on_policy)(void *arg);
	void (*on_direct_ask)(void *arg, const struct zds_direct_ask *ask);
};

struct zds_config {
	struct loop *loop; /* borrowed */
	const char *path;  /* of the socket; copied */
	const char *node;  /* for HELLO, < 64 bytes; copied */
	uid_t uid;         /* who may connect, besides root */
	gid_t gid;         /* the socket file's group */
	const struct zds_ops *ops;
	void *arg;
};

/** zds_new() - listen. Needs CAP_CHOWN. Return: 0; -EADDRINUSE; -errno. */
_must_check_ int zds_new(const struct zds_config *config, struct zds **ret);
/** zds_free() - close; no callbacks. Takes NULL. Return: NULL. */
struct zds *zds_free(struct zds *z);
DEFINE_CLEANUP(struct zds *, zds_free);

bool zds_is_connected(const struct zds *z);
/** zds_peer_pid() - process id of the connected ztunnel, 0 when none. */
pid_t zds_peer_pid(const struct zds *z);

/**
 * zds_send() - send a message or queue it
 * @msg: starts with struct zds_header, type set; the length is filled in.
 * @fds: borrowed (duplicated when the message has to wait).
 * Return: 0; -ENOTCONN. A ztunnel that reads nothing for too long is dropped: on_lost() then
 * follows from the loop.
 */
int zds_send(struct zds *z, struct zds_header *msg, size_t len, const int *fds, size_t fd_count);

/** zds_check() - is this a well-formed message that a ztunnel may send? Return: 0; -EBADMSG. Never
 * reads past @len. */
_must_check_ int zds_check(const void *msg, size_t len, size_t fd_count);

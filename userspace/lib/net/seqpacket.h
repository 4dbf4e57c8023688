/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* seqpacket - messages with descriptors over AF_UNIX SOCK_SEQPACKET. No state; every descriptor is
 * non-blocking and CLOEXEC. */
#include <stddef.h>
#include <sys/types.h>

#include "base/macros.h"

#define SEQPACKET_FDS_MAX 64 /* descriptors per message */

/** seqpacket_listen() - a stale socket file is replaced, one somebody listens on is not. Return: 0;
 * -EADDRINUSE; -ENAMETOOLONG; -errno. */
_must_check_ int seqpacket_listen(const char *path, unsigned int mode, int *ret_fd);
/** seqpacket_connect() - Return: 0; -ENOENT, -ECONNREFUSED nobody there; -errno. */
_must_check_ int seqpacket_connect(const char *path, int *ret_fd);
/**
 * seqpacket_send() - one message with @n descriptors (borrowed), whole or not at all. No SIGPIPE.
 * Return: 0; -EAGAIN the peer is slow; -EMSGSIZE; -EINVAL more than SEQPACKET_FDS_MAX; -errno.
 */
_must_check_ int seqpacket_send(int fd, const void *buf, size_t len, const int *fds, size_t n);
/**
 * seqpacket_recv() - one message.
 * @fds: room for @max_fds descriptors, which the caller then owns; *@ret_nfds are valid.
 * Return: length; 0 the peer is gone; -EAGAIN; -EBADMSG cut, empty, or too many descriptors (all
 * closed); -errno.
 */
_must_check_ ssize_t seqpacket_recv(int fd, void *buf, size_t size, int *fds, size_t max_fds,
				    size_t *ret_nfds);
/** peer_cred() - who connected (SO_PEERCRED, taken at connect(2)). @ret_pid may be NULL. Return: 0;
 * -errno. */
_must_check_ int peer_cred(int fd, uid_t *ret_uid, pid_t *ret_pid);

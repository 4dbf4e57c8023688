/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* unix - AF_UNIX sockets by path. No state; descriptors are non-blocking and CLOEXEC. */
#include "base/macros.h"

/** unix_stream_listen() - a stale socket file is replaced, one somebody listens on is not. Return:
 * 0; -EADDRINUSE; -ENAMETOOLONG; -errno. */
_must_check_ int unix_stream_listen(const char *path, unsigned int mode, int *ret);
/** unix_stream_connect() - Return: 0; -ENOENT, -ECONNREFUSED nobody there; -EAGAIN its queue is
 * full; -errno. */
_must_check_ int unix_stream_connect(const char *path, int *ret);

/** unix_listen() - the same for any @type, SOCK_STREAM or SOCK_SEQPACKET. */
_must_check_ int unix_listen(const char *path, int type, unsigned int mode, int *ret);
_must_check_ int unix_connect(const char *path, int type, int *ret);

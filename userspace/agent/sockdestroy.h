/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* sockdestroy - end a TCP connection of the namespace that the process is in: SOCK_DESTROY over
 * inet_diag. Both ends learn it by a reset. Needs CAP_NET_ADMIN. Any thread. */
#include "base/macros.h"
#include "culvert/abi/addr.h"

/**
 * sockdestroy_tcp() - end the connection of one socket
 * @local, @remote: as the socket has them; both of one family.
 * Return: 0; -ENOENT no such connection; -EOPNOTSUPP the kernel has no CONFIG_INET_DIAG_DESTROY;
 * -errno.
 */
_must_check_ int sockdestroy_tcp(const struct cv_sockaddr *local, const struct cv_sockaddr *remote);

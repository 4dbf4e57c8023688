/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* tcp - TCP listeners and socket options. No state; descriptors are non-blocking and CLOEXEC. */
#include <stdint.h>

#include "base/macros.h"
#include "net/addr.h"

/** tcp_listen() - @addr "::" serves both families; @port in host order, 0: any. Return: 0;
 * -EADDRINUSE; -errno. */
_must_check_ int tcp_listen(const struct cv_addr *addr, uint16_t port, int *ret);
/** tcp_listen_any() - on every address of both families; of IPv4 where there is no IPv6. Return: as
 * tcp_listen(). */
_must_check_ int tcp_listen_any(uint16_t port, int *ret);
/** tcp_connect() - begin to connect; writable when it is there. Return: 0; -errno. */
_must_check_ int tcp_connect(const struct cv_sockaddr *to, int *ret);
/** tcp_connect_result() - how a connect ended, once @fd (TCP) is writable or in error. Empties the
 * error queue, so that EPOLLERR is about what comes next. Return: 0 connected; -errno. */
_must_check_ int tcp_connect_result(int fd);
/** socket_set_nodelay_keepalive() - no Nagle; keep-alive after 180 s, every 180 s, 9 tries. Return:
 * 0; -errno. */
int socket_set_nodelay_keepalive(int fd);

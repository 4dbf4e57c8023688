/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* sockdump - the TCP sockets of the namespace that the process is in now, IPv4 and IPv6. Thread:
 * any; blocks until the kernel has answered. */
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "culvert/abi/maps.h"

/** sockdump_fn - a socket, as it sees itself; the cookie is 0. @h: inet_diag_msg and its
 * attributes; borrowed. Return: 0, or -errno to be handed on; the rest is then not looked at. */
typedef int sockdump_fn(void *arg, const struct cv_tuple *t, const struct nlmsghdr *h);

/**
 * sockdump_tcp() - look at all of them
 * @states: bits of tcp(7)'s states.
 * @with:   INET_DIAG_*, an attribute that is wanted; 0: none.
 * Return: 0; -errno of the kernel or of @fn, for one family or both.
 */
_must_check_ int sockdump_tcp(uint32_t states, unsigned int with, sockdump_fn *fn, void *arg);

/** sockdump_has() - is there a socket with this tuple, in any state but LISTEN? */
bool sockdump_has(const struct cv_tuple *t);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* netlink - one request to the kernel and all its answers, in the namespace that the process is in
 * now. Thread: any; blocks until the kernel has answered. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>

#include "base/macros.h"

/** netlink_fn - one answer; borrowed. Return: 0, or -errno to be handed on; the rest is then not
 * looked at. */
typedef int netlink_fn(void *arg, const struct nlmsghdr *h);

/**
 * netlink_call() - send a request and read what comes back
 * @protocol: NETLINK_ROUTE, NETLINK_SOCK_DIAG.
 * @request:  nlmsg_len bytes; flags are the caller's, NLM_F_DUMP or NLM_F_ACK among them.
 * @fn:       for every answer that is not an error or the end; NULL: none is wanted.
 * Return: 0; -errno of the kernel's answer, of @fn or of the socket.
 */
_must_check_ int netlink_call(int protocol, const struct nlmsghdr *request, netlink_fn *fn,
			      void *arg);

/** netlink_put() - append an attribute to a request that has room for it after its nlmsg_len bytes.
 */
void netlink_put(struct nlmsghdr *request, unsigned short type, const void *data, size_t size);

/** netlink_attr() - the attribute of this type among @len bytes of them, NULL: none, or shorter
 * than
 * @size bytes. */
const void *netlink_attr(const struct rtattr *first, size_t len, unsigned short type, size_t size);

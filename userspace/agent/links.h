/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* links - how a pod's network namespace is connected with the host. Thread: any. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "netns.h"

#define LINKS_MAX 8

/** struct link - a veth whose other end is in the agent's own namespace. */
struct link {
	uint32_t ifindex;   /* of the host's end */
	uint8_t pod_mac[6]; /* of the pod's end */
	uint8_t host_mac[6];
	bool is_queued; /* what goes to the pod waits in a queue: somebody limits it */
};

/** link_is_gone() - is there surely no interface with this number in the agent's namespace? */
bool link_is_gone(uint32_t ifindex);

/**
 * links_find() - the links of a pod with the agent's namespace
 * @netns_fd: the pod's.
 * @ret, @ret_n: filled; other kinds of interfaces and links to elsewhere are left out.
 * Return: 0; -E2BIG more than LINKS_MAX; -errno.
 */
_must_check_ int links_find(const struct netns_home *home, int netns_fd, struct link ret[LINKS_MAX],
			    size_t *ret_n);

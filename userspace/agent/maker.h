/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* maker - a child of the agent that makes ztunnel's stock sockets: the program culvert-maker. It
 * sits in ztunnel's cgroup, so that the sockets' memory is charged to ztunnel, and it lives as long
 * as ztunnel is connected. It holds the agent's capabilities and four descriptors. Owner: agent.
 * Thread: loop only; calls wait for the child, which does nothing but a few system calls, ten
 * seconds at most. */
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/zds.h"
#include "netns.h"

struct maker; /* opaque */

/**
 * maker_new() - start the child
 * @program: path of culvert-maker; borrowed. One that cannot be started maker_dial() finds gone.
 * @home:    the agent's own namespace; borrowed for the call.
 * @mark_fd: descriptor of cv_sockets; borrowed for the call.
 * @ztunnel: whose cgroup to join (cgroup v2; version 1 does not charge sockets by default). Where
 * that fails the child stays in the agent's. Return: 0; -errno of socketpair(2), fork(2).
 */
_must_check_ int maker_new(const char *program, const struct netns_home *home, int mark_fd,
			   pid_t ztunnel, struct maker **ret);
/** maker_free() - end the child. Takes NULL. Return: NULL. */
struct maker *maker_free(struct maker *m);
DEFINE_CLEANUP(struct maker *, maker_free);

/**
 * maker_dial() - as sockets_dial(), in the namespace of @netns_fd
 * @what: kind, family and count.
 * Logs what the child could not do when it began.
 * Return: 0; -errno of the sockets; -EPIPE the child is of no use any more: free it.
 */
_must_check_ int maker_dial(struct maker *m, int netns_fd, const struct zds_sockets *what,
			    int *ret);

/** maker_pid() - of the child, for tests. */
pid_t maker_pid(const struct maker *m);

/** maker_cgroup_path() - the path after "0::" in the text of a /proc/PID/cgroup, copied to @ret of
 * @size bytes. Return: 0; -ENOENT no such line; -ENAMETOOLONG. */
_must_check_ int maker_cgroup_path(const char *text, char *ret, size_t size);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* stock - the sockets that ztunnel dials with: made by a child in ztunnel's cgroup (maker), or by
 * the agent itself when the child is of no use. Owner: agent. Thread: loop only. */
#include <stdint.h>
#include <sys/types.h>

#include "maker.h"
#include "sockets.h"

struct stock {
	const char *program;                 /* culvert-maker; borrowed */
	const struct netns_home *home;       /* borrowed */
	const struct sockets_marker *marker; /* borrowed */
	int mark_fd;                         /* cv_sockets; borrowed */
	struct maker *maker;                 /* owned; NULL: the agent makes them */
	pid_t ztunnel;                       /* 0: none is connected */
	uint64_t again_us;                   /* when to try another child, CLOCK_MONOTONIC */
};

/** stock_ztunnel_connected() - make the child for this ztunnel. A failure is logged. */
void stock_ztunnel_connected(struct stock *s, pid_t ztunnel);
/** stock_ztunnel_lost() - end the child: ztunnel's cgroup must be free to go. */
void stock_ztunnel_lost(struct stock *s);

/** stock_dial() - as sockets_dial(), in the namespace of @netns_fd. A child that is of no use is
 * replaced a minute later. Return: as there, or -errno of setns(2). */
_must_check_ int stock_dial(struct stock *s, int netns_fd, const struct zds_sockets *what,
			    int *ret);

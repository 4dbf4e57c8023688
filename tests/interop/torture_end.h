/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* torture_end - what one end of a connection does and sees. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "torture_plan.h"

struct end {
	const struct plan *plan;
	struct head head;
	int fd;
	bool is_client;
	atomic_bool has_read;  /* all of the peer's bytes */
	atomic_bool was_reset; /* a call has said so; the kernel tells one alone */
	pthread_mutex_t lock;
	pthread_cond_t change;
	char error[160]; /* the first thing that was not as it must be */
};

/** end_connect() - a client's connection to @addr, which has said its head. Return: 0, or -1 with
 * errno; @e->fd is to be closed. */
int end_connect(struct end *e, const struct sockaddr *addr, socklen_t n);
/** end_run() - all of the plan, on a connection whose head is known; closes it. */
void end_run(struct end *e);

/** resets_lost() - resets of this process's ends that came for a probe alone, with @is_refused
 * where the kernel says that the socket had refused a segment, which may have been the reset. */
unsigned int resets_lost(bool is_refused);

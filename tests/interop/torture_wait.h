/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* torture_wait - how a thread waits for a socket that has no room, or nothing to read. */
#include <stdbool.h>

#define HANG_S 30 /* a call or a wait that takes longer is one that hangs */

/* Who does not wait in the call has a socket with O_NONBLOCK, and tries until EAGAIN before it
 * waits: edges are told to nobody else. */
enum waiting { WAIT_IN_CALL, WAIT_POLL, WAIT_LEVEL, WAIT_EDGE, WAIT_MAX };

/* One thread's, for one direction. */
struct waiter {
	enum waiting how;
	int fd, epoll;
	bool is_writer;
	unsigned int vain; /* waits that another direction's news has ended */
};

/** waiter_open() - of an edge nothing is missed from here on. Return: 0, or -1 with errno. */
int waiter_open(struct waiter *w, int fd, enum waiting how, bool is_writer);
/** waiter_again() - a call has returned -1 with errno. Return: is it to be made again? Not before
 * there was something to wait for; what never came leaves errno ETIMEDOUT. */
bool waiter_again(struct waiter *w);
/** waiter_close() - give back what it holds. */
void waiter_close(struct waiter *w);

/** waits_of() - how often anybody of this process has waited so; in a call it is not known. */
unsigned int waits_of(enum waiting how, bool is_writer);

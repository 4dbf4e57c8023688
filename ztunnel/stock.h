/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* stock - unconnected sockets of one pod, kind and family that the agent made, ready to dial with.
 * One per worker, so that no dial waits for a round trip to the agent while connections come
 * steadily. Who comes in a heap, as the streams that a peer opens at once, gets his in turns: to
 * connect costs as much as a hundred messages. The stocks of a worker have their turns one after
 * the other, so that no pod's heap is another's delay. Who waits for a turn has his socket already:
 * the agent may have gone, or serve a newer ztunnel, before it comes. Thread: the worker's. */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macros.h"
#include "base/turns.h"
#include "culvert/zds.h"

#define STOCK_BATCH_MIN 4
#define STOCK_BATCH_MAX ZDS_MAX_FDS
#define STOCK_KINDS     3 /* DIAL_APP, DIAL_HBONE, DIAL_PLAIN */
#define STOCK_FAMILIES  2
/* Of those that wait for a stock's turn the part that has it; at most so many. */
#define STOCK_TURN_SHARE 128
#define STOCK_TURN_MAX   16

/** struct dial_wait - somebody who waits for a socket; embedded. The owner has the deadline and
 * calls dial_wait_cancel(). */
struct dial_wait {
	struct list link;    /* stock->waiters, or stock->ready */
	struct stock *stock; /* while it waits */
	bool has_fd;         /* and for its turn alone */
	int fd;
	/* @fd: the waiter's now, or -errno. */
	void (*on_socket)(struct dial_wait *w, int fd);
};

struct stock {
	int fds[STOCK_BATCH_MAX];
	uint32_t count;
	uint32_t asked;      /* under way from the agent */
	uint32_t batch;      /* how many to ask for: grows while demand outruns it */
	struct list waiters; /* for a socket */
	struct list ready;   /* with a socket, for the stock's turn */
	uint32_t ready_count;
	struct turn_work work;
	/* Ask the agent. Return: 0; -errno, nobody was asked. */
	int (*need)(void *arg, struct stock *s, uint32_t count);
	void *arg;
	struct turns *turns;
};

/** stock_init() - none yet. @turns: borrowed, of all stocks of the worker. */
void stock_init(struct stock *s, int (*need)(void *arg, struct stock *s, uint32_t count), void *arg,
		struct turns *turns);
/** stock_close() - close the sockets; waiters get @error, but for those whose turn is all that is
 * lacking: they have it now. */
void stock_close(struct stock *s, int error);
/** stock_move_waiters() - those who wait at @from wait at @to. */
void stock_move_waiters(struct stock *to, struct stock *from);
/** stock_take() - Return: a descriptor that is the caller's; -EAGAIN: on_socket will be called;
 * another -errno: it will not, the agent cannot be asked. */
_must_check_ int stock_take(struct stock *s, struct dial_wait *w);
/** stock_give() - from the agent; all @fds are taken. One that is negative was closed for want of
 * descriptors: who waits for it gets -EMFILE. @error: a positive errno when there are none. */
void stock_give(struct stock *s, const int *fds, uint32_t count, uint32_t error);
/** stock_lost() - an answer was lost on its way, perhaps this one's: whoever waits gets -ENOMEM,
 * and the next who comes asks anew. What was asked for may come all the same. */
void stock_lost(struct stock *s);
/** dial_wait_cancel() - harmless when it does not wait. @w must have been zeroed before first use.
 */
void dial_wait_cancel(struct dial_wait *w);
/** dial_wait_is_on() - does it wait? @w as for dial_wait_cancel(). */
bool dial_wait_is_on(const struct dial_wait *w);

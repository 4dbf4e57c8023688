/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* loop - one epoll event loop. Owner: one thread; only loop_wake() may be called from others.
 * Callbacks never block. A source that is removed inside a callback is not called again, and its
 * memory may be freed right after *_del(). */
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "cleanup.h"
#include "list.h"
#include "macros.h"

struct loop; /* opaque */

/** struct loop_fd - a watched descriptor, embedded in its owner's struct. Zero it before first use.
 */
struct loop_fd {
	int fd;          /* borrowed: never closed by the loop */
	uint32_t events; /* what is armed now: EPOLLIN | EPOLLOUT | EPOLLET | EPOLLEXCLUSIVE */
	void (*on_event)(struct loop_fd *w, uint32_t events);
	struct loop *loop; /* NULL when not added */
	uint32_t _slot;
};

/** struct loop_timer - one-shot timer, embedded. Zero it before first use. */
struct loop_timer {
	uint64_t at_us; /* loop_now_us() scale; 0 when not armed */
	void (*on_timer)(struct loop_timer *t);
	struct loop *loop;
	uint32_t _index;
};

/** struct loop_task - runs once at the end of this turn of the loop, embedded: for freeing and for
 * batched flushes. */
struct loop_task {
	struct list _link;
	void (*on_task)(struct loop_task *t);
	bool is_queued;
};

/** loop_new() - Return: 0; -errno of epoll_create1, eventfd; -ENOMEM. */
_must_check_ int loop_new(struct loop **ret);
struct loop *loop_free(struct loop *l);
DEFINE_CLEANUP(struct loop *, loop_free);

/** loop_add() - watch w->fd for @events; w->fd and w->on_event are set by the caller. Return: 0;
 * -errno of epoll_ctl. */
_must_check_ int loop_add(struct loop *l, struct loop_fd *w, uint32_t events);
/** loop_set() - change the armed events; no system call when they stay the same. */
int loop_set(struct loop_fd *w, uint32_t events);
/** loop_del() - stop watching; harmless when not added. Call before closing the fd. */
void loop_del(struct loop_fd *w);

/** loop_close() - stop watching and close w->fd, which must be this process's only descriptor of
 * it: saves a system call. Leaves w->fd at -EBADF. */
void loop_close(struct loop_fd *w);

/** loop_timer_set() - (re)arm at now + @delay_us. on_timer is set by the caller. Return: 0;
 * -ENOMEM. */
int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_us);
void loop_timer_del(struct loop_timer *t);

/** loop_task_queue() - run t->on_task at the end of this turn; a second call before that does
 * nothing. */
void loop_task_queue(struct loop *l, struct loop_task *t);
void loop_task_del(struct loop_task *t);

/** loop_signal() - call @fn in the loop when @signo arrives (signalfd; the signal is blocked for
 * the process). */
_must_check_ int loop_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg),
			     void *arg);

/** loop_set_wake() - what loop_wake() runs in the loop's thread. */
void loop_set_wake(struct loop *l, void (*fn)(void *arg), void *arg);
/** loop_wake() - from any thread: make the loop call its wake function soon. Calls may be merged.
 */
void loop_wake(struct loop *l);

/** loop_set_poll() - look for events up to @poll_us, giving the processor to whoever wants it,
 * before sleeping; only while events come nearly that fast. 0: never. */
void loop_set_poll(struct loop *l, uint64_t poll_us);

/** loop_yield() - after this event or task whoever else waits for this processor has it, as after
 * 400 us of work in any case: what is left to do is nobody's hurry. From within a turn. */
void loop_yield(struct loop *l);
/** loop_set_turn() - what runs after each turn. */
void loop_set_turn(struct loop *l, void (*fn)(void *arg), void *arg);
/** loop_waited_us() - how long the loop has waited for events in all: the rest of the time it had
 * something to do. */
uint64_t loop_waited_us(const struct loop *l);

/** loop_now_us() - CLOCK_MONOTONIC in microseconds, read once per turn. */
uint64_t loop_now_us(const struct loop *l);
/** loop_turn() - number of the turn that runs. */
uint64_t loop_turn(const struct loop *l);

/** loop_run() - run until loop_stop(). Return: the value given to loop_stop(), or -errno of
 * epoll_wait. */
int loop_run(struct loop *l);
/** loop_run_once() - one turn, waiting at most @timeout_ms (-1: for ever). For tests. */
int loop_run_once(struct loop *l, int timeout_ms);
void loop_stop(struct loop *l, int result);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* inbox - how one thread hands work to another: messages are queued and the other's loop is woken.
 * Any thread may post; only the loop's own thread runs them. Owner: the thread's struct. */
#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/macros.h"

struct loop;

/** struct message - embedded, first, in what is handed over. run() owns it; with @target NULL it
 * only frees what it holds. */
struct message {
	struct list link;
	void (*run)(void *target, struct message *m);
};

struct inbox {
	pthread_mutex_t lock;
	struct list queue;
	struct loop *loop;
	void *target;
	bool is_closed;
};

/** inbox_init() - messages run with @target in @loop, whose wake function this takes. */
void inbox_init(struct inbox *b, struct loop *loop, void *target);
/** inbox_post() - from any thread. @m is taken; after inbox_close() it is freed at once. */
void inbox_post(struct inbox *b, struct message *m);
/** inbox_close() - free what waits; nothing runs any more. */
void inbox_close(struct inbox *b);

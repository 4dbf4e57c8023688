/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* rounds - when how many of a server's clients are served. What comes alone goes to all at once.
 * What comes soon after that goes round: each client has its turn once in a round's time, which
 * grows with their number, so that a burst of changes is one push to each. The turns are spread
 * over that time: in one heap, the last would wait for all before it as well. Owner: xds/server.
 * Thread: its loop. */
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

struct rounds {
	struct loop *loop;
	struct loop_timer timer; /* on while a round is */
	void (*serve)(void *arg, size_t n);
	void *arg;
	size_t n, owed;
	uint64_t served_us; /* up to when turns have been given */
};

/** rounds_init() - @fn: serve the next @n of the clients, those first that had their turn longest
 * ago. */
void rounds_init(struct rounds *r, struct loop *loop, void (*fn)(void *arg, size_t n), void *arg);
/** rounds_ask() - there is something for all @n of them. Serves before it returns, or soon. */
void rounds_ask(struct rounds *r, size_t n);
/** rounds_stop() - nobody is served until the next rounds_ask(). */
void rounds_stop(struct rounds *r);

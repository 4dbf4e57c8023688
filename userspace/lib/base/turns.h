/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* turns - work that comes in heaps, of which one turn of a loop does only a little: what else is
 * ready has its turn between. In the order in which it came. One thread, the loop's. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/macros.h"

/* Of those that wait, the part that has its turn in each. */
#define TURNS_SHARE 32

/** struct turn_work - a piece of work; embedded, zeroed before first use. */
struct turn_work {
	struct list link;
	struct turns *turns; /* where it waits, or did */
	/* What runs, once; @w is queued no more, and may be freed in it. */
	void (*on_turn)(struct turn_work *w);
};

struct turns {
	struct loop *loop;
	struct loop_task task;
	struct list waiting;
	uint64_t turn;     /* the last in which some was done */
	unsigned int done; /* in it */
	unsigned int max;
	size_t count; /* that wait */
};

/** turns_init() - nothing to do. @loop: borrowed; @max: pieces a turn, 1 at least; more where more
 * than TURNS_SHARE times as many wait, so that they do not wait for ever where turns are long. */
void turns_init(struct turns *t, struct loop *loop, unsigned int max);
/** turns_free() - before the loop ends; what still waits is forgotten. Zeroed is fine. */
void turns_free(struct turns *t);
/** turns_take() - may a piece be done now? Not before those that wait. Return: it is counted. */
_must_check_ bool turns_take(struct turns *t);
/** turns_wait() - run w->on_turn in the first turn that has room. @w must not be waiting. */
void turns_wait(struct turns *t, struct turn_work *w);
/** turn_work_cancel() - Return: did it wait? */
bool turn_work_cancel(struct turn_work *w);

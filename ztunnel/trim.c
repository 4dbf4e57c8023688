/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/trim.h"

#include <malloc.h>
#include <stdatomic.h>

#include "ztunnel/worker.h"

#define INTERVAL_US (10 * 1000000ULL)
/* A peak below this is not worth it. */
#define PEAK_MIN 1000

static void on_timer(struct loop_timer *timer)
{
	struct trim *t = container_of(timer, struct trim, timer);
	uint32_t conns = 0;

	for (unsigned int i = 0; i < t->count; i++)
		conns += atomic_load_explicit(&t->workers[i].load_conns, memory_order_relaxed);
	t->peak = MAX(t->peak, conns);
	if (t->peak >= PEAK_MIN && conns < t->peak / 4) {
		(void)malloc_trim(0);
		t->peak = conns;
	}
	(void)loop_timer_set(t->loop, timer, INTERVAL_US);
}

void trim_start(struct trim *t, struct loop *loop, struct worker *workers, unsigned int count)
{
	t->loop = loop;
	t->workers = workers;
	t->count = count;
	t->timer.on_timer = on_timer;
	(void)loop_timer_set(loop, &t->timer, INTERVAL_US);
}

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* help - who accepts a pod's connections: one worker, its home. What ends and what begins in the
 * same moment is then seen in one turn and leaves in one record, and no second thread is woken for
 * it. While the home has no time left, the others accept too. Thread: the worker's own, but for
 * is_asked. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct worker;
struct worker_pod;

struct help {
	uint64_t since_us;  /* of the span that is looked at: its begin, and what had been */
	uint64_t waited_us; /* waited until then */
	uint64_t busy_us;   /* when a span without time left ended last */
	atomic_bool is_asked;
};

/** help_init() - @w->loop exists. */
void help_init(struct worker *w);
/** help_accepts() - does @wp's worker watch its listeners now? */
bool help_accepts(const struct worker_pod *wp);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* trim - gives memory back as soon as the process is quiet: after the start what only that needed,
 * after a rush what the C library keeps of thousands of connections, after each the pages of code
 * that only it ran. For processes of one loop, or whose main thread runs one. Thread: that loop's.
 */
#include <stdint.h>

#include "base/loop.h"

struct trim {
	struct loop *loop;
	struct loop_timer timer;
	uint64_t looked_us; /* loop_now_us() */
	uint64_t cpu_us;    /* of the process, then */
	uint64_t faults;    /* of the process, when memory was given back last */
	uint64_t every_us;  /* as it was asked for */
	uint64_t credit_us; /* how soon it may be again */
};

/** trim_start() - look now and then; @t zeroed.
 * @every_us: so often in the long run, a few times at once: what is given back and comes again
 * costs half a millisecond. */
void trim_start(struct trim *t, struct loop *loop, uint64_t every_us);
/** trim_code() - give back all that is mapped of programs and libraries and cannot have been
 * written to; what is run again comes again. */
void trim_code(void);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* trim - gives memory back: after the start what only that needed, after a rush what the C library
 * keeps of thousands of connections. Thread: the main loop. */
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct worker;

struct trim {
	struct loop *loop;
	struct loop_timer timer;
	struct worker *workers;
	unsigned int count;
	uint32_t peak; /* connections, since memory was given back last */
	bool is_settled;
};

/** trim_start() - look now and then; @t zeroed. The workers must outlive the loop's turns. */
void trim_start(struct trim *t, struct loop *loop, struct worker *workers, unsigned int count);

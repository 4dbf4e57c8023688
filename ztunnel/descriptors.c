/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/descriptors.h"

#include <limits.h>

#include "base/files_limit.h"
#include "base/macros.h"

#define LIMIT_WANTED 1048576
/* Room for a few whole messages of the agent; a quarter where the limit is very low. */
#define RESERVE_MAX 512
/* 256 KB of the kernel's memory. */
#define ROOM 32768

static int scarce_from = INT_MAX;

void descriptors_init(void)
{
	uint64_t limit = files_limit_raise(LIMIT_WANTED);

	if (limit > 0 && limit < INT_MAX)
		scarce_from = (int)(limit - MIN(limit / 4, (uint64_t)RESERVE_MAX));
	files_table_grow(ROOM);
}

bool descriptors_are_scarce(int fd)
{
	return fd >= scarce_from;
}

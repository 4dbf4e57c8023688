/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/descriptors.h"

#include <limits.h>
#include <sys/resource.h>

#include "base/macros.h"

#define LIMIT_WANTED 1048576
/* Room for a few whole messages of the agent; a quarter where the limit is very low. */
#define RESERVE_MAX 512

static int scarce_from = INT_MAX;

void descriptors_init(void)
{
	struct rlimit l = {LIMIT_WANTED, LIMIT_WANTED};

	if (setrlimit(RLIMIT_NOFILE, &l) < 0) {
		if (getrlimit(RLIMIT_NOFILE, &l) < 0)
			return;
		l.rlim_cur = l.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
	if (l.rlim_cur < INT_MAX)
		scarce_from = (int)(l.rlim_cur - MIN(l.rlim_cur / 4, (rlim_t)RESERVE_MAX));
}

bool descriptors_are_scarce(int fd)
{
	return fd >= scarce_from;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/files_limit.h"

#include <sys/resource.h>

#include "base/macros.h"

uint64_t files_limit_raise(uint64_t wanted)
{
	struct rlimit l, more;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return 0;
	if (l.rlim_cur >= wanted)
		return l.rlim_cur;
	more = (struct rlimit){wanted, MAX(l.rlim_max, (rlim_t)wanted)};
	if (setrlimit(RLIMIT_NOFILE, &more) == 0)
		return wanted;
	/* more than the hard limit is not ours to take */
	l.rlim_cur = MIN(l.rlim_max, (rlim_t)wanted);
	(void)setrlimit(RLIMIT_NOFILE, &l);
	return l.rlim_cur;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/files_limit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "base/cleanup.h"
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

/* It never shrinks: the highest number must have been in use once. */
void files_table_grow(uint64_t wanted)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || wanted == 0 || l.rlim_cur == 0)
		return;
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd < 0)
		return;
	(void)close_fd(fcntl(fd, F_DUPFD_CLOEXEC, (int)(MIN(wanted, (uint64_t)l.rlim_cur) - 1)));
}

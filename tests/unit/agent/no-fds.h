/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* no-fds - a loop in a process that gets no descriptor more. Included after cmocka.h. */
#include <sys/resource.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/str.h"

#define NO_FDS_US 300000

/* Return: how often the loop has turned; a listener that wakes it again and again makes it
 * thousands of times. */
static unsigned int turns_without_fds(struct loop *loop)
{
	uint64_t until_us = now_monotonic_us() + NO_FDS_US;
	struct rlimit usual, low;
	unsigned int n = 0;
	int fd = dup(STDERR_FILENO);

	(void)close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	low = (struct rlimit){.rlim_cur = (rlim_t)fd, .rlim_max = usual.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (; now_monotonic_us() < until_us; n++)
		assert_true(loop_run_once(loop, 10) >= 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
	return n;
}

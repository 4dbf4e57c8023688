/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fast-clock - a clock that goes by the loop's timers: while the_clock.is_fast and nothing else
 * happens, time that would be waited for is over at once. Linked with -Wl,--wrap=now_monotonic_us
 * and -Wl,--wrap=epoll_wait; included by one file of a program. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/str.h"

#define QUIET_MS 20 /* answers of the fake server are there sooner */

static struct {
	bool is_fast;
	uint64_t ahead_us;
} the_clock;

uint64_t __wrap_now_monotonic_us(void);
uint64_t __real_now_monotonic_us(void);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int timeout_ms);
int __real_epoll_wait(int fd, struct epoll_event *events, int n, int timeout_ms);

uint64_t __wrap_now_monotonic_us(void)
{
	return __real_now_monotonic_us() + the_clock.ahead_us;
}

int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int timeout_ms)
{
	int got;

	if (!the_clock.is_fast || timeout_ms <= QUIET_MS)
		return __real_epoll_wait(fd, events, n, timeout_ms);
	got = __real_epoll_wait(fd, events, n, QUIET_MS);
	if (got == 0)
		the_clock.ahead_us += (uint64_t)(timeout_ms - QUIET_MS) * 1000;
	return got;
}

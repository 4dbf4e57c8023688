/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fast-clock - a clock that goes by the loop's timers: while the_clock.is_fast and nothing else
 * happens, time that would be waited for is over at once. CLOCK_REALTIME is left alone. Linked with
 * -Wl,--wrap=clock_gettime,--wrap=epoll_wait; included by one file of a program. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

#define QUIET_MS 20 /* answers of the fake server are there sooner */

static struct {
	bool is_fast;
	uint64_t ahead_us;
} the_clock;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int timeout_ms);
int __real_epoll_wait(int fd, struct epoll_event *events, int n, int timeout_ms);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = __real_clock_gettime(clock, ret);
	uint64_t ns;

	if (r < 0 || clock == CLOCK_REALTIME)
		return r;
	ns = (uint64_t)ret->tv_nsec + the_clock.ahead_us % 1000000 * 1000;
	ret->tv_sec += (time_t)(the_clock.ahead_us / 1000000 + ns / 1000000000);
	ret->tv_nsec = (long)(ns % 1000000000);
	return r;
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

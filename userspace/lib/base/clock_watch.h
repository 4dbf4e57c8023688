/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* clock_watch - tells when CLOCK_REALTIME was set, or went on without us while the machine slept.
 * Timers run by CLOCK_MONOTONIC and do not notice; what is good until a date must be looked at
 * again. Slewing, as NTP does it, is not told. Thread: the loop's. */
#include "base/loop.h"
#include "base/macros.h"

/** struct clock_watch - embedded; zeroed before clock_watch_start(). */
struct clock_watch {
	struct loop_fd _timer;
	void (*_on_step)(struct clock_watch *w);
};

/** clock_watch_start() - @on_step runs in the loop, once for one or several steps. Return: 0;
 * -errno of timerfd_create, timerfd_settime, epoll_ctl. */
_must_check_ int clock_watch_start(struct clock_watch *w, struct loop *l,
				   void (*on_step)(struct clock_watch *w));
/** clock_watch_stop() - harmless when it was not started. */
void clock_watch_stop(struct clock_watch *w);

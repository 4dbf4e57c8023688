/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* memory - near the end of it connections are refused at the door, so that those which are open go
 * on: when malloc() had to be helped out by the thread's reserve (base/reserve.h), and where our
 * cgroup has a limit, at which the kernel would kill us instead (memory_limit.h). Says so in the
 * log when it begins and when it is over. */
#include <stdbool.h>
#include <stdint.h>

/** memory_is_short() - nothing new now. Tries to fill the calling thread's reserve again, whose
 * reserve_fill() has to have been called once.
 * @now_us: loop_now_us(). */
bool memory_is_short(uint64_t now_us);

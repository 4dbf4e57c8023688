/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* turn - a test's own loop, run until what it waits for is there. */
#include "base/loop.h"
#include "base/str.h"

/** turn_until() - run @l until @condition holds, @ms at most: the test asserts which it was. */
#define turn_until(l, ms, condition)                                                               \
	for (uint64_t end_ = now_monotonic_us() + (uint64_t)(ms)*1000;                             \
	     !(condition) && now_monotonic_us() < end_;)                                           \
	(void)loop_run_once((l), 20)

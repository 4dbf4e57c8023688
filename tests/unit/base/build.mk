# SPDX-License-Identifier: Apache-2.0

# The kernel's side of a clock that is set.
$(BUILD)/tests/unit/base/test-clock-watch: ALL_LDFLAGS += -Wl,--wrap=timerfd_create,--wrap=timerfd_settime,--wrap=read

# How much memory there is.
$(BUILD)/tests/unit/base/test-reserve: ALL_LDFLAGS += -Wl,--wrap=malloc

# Whether it lets others have the processor.
$(BUILD)/tests/unit/base/test-loop: ALL_LDFLAGS += -Wl,--wrap=sched_yield,--wrap=clock_gettime

# SPDX-License-Identifier: Apache-2.0
unit-tests += $(patsubst %,tests/unit/base/test-%.c,buf cel clock-watch drop index log loop map option str) \
	$(wildcard tests/unit/base/test-hamt.c)

# The kernel's side of a clock that is set.
$(BUILD)/tests/unit/base/test-clock-watch: ALL_LDFLAGS += -Wl,--wrap=timerfd_create,--wrap=timerfd_settime,--wrap=read

# SPDX-License-Identifier: Apache-2.0

# A clock that the test turns.
$(BUILD)/tests/unit/xds/test-on-demand: ALL_LDFLAGS += -Wl,--wrap=clock_gettime,--wrap=epoll_wait
$(BUILD)/tests/unit/xds/test-rounds: ALL_LDFLAGS += -Wl,--wrap=clock_gettime

# Memory that ends.
$(BUILD)/tests/unit/xds/test-node: ALL_LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

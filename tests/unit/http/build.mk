# SPDX-License-Identifier: Apache-2.0

# A clock that the test turns.
$(BUILD)/tests/unit/http/test-grpc: ALL_LDFLAGS += -Wl,--wrap=clock_gettime,--wrap=epoll_wait

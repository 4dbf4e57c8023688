# SPDX-License-Identifier: Apache-2.0

# A clock that the test turns.
$(addprefix $(BUILD)/tests/unit/source/test-kube-,cut faults): ALL_LDFLAGS += -Wl,--wrap=clock_gettime,--wrap=epoll_wait

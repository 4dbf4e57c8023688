# SPDX-License-Identifier: Apache-2.0
unit-tests += $(patsubst %,tests/unit/source/test-%.c,crds folder kube kube-call kube-config kube-faults manifest mesh-config object schema store words yaml)

# A clock that the test turns.
$(BUILD)/tests/unit/source/test-kube-faults: ALL_LDFLAGS += -Wl,--wrap=clock_gettime,--wrap=epoll_wait

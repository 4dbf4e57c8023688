# SPDX-License-Identifier: Apache-2.0

# A clock that the test turns.
$(addprefix $(BUILD)/tests/unit/control/test-,leader stale): ALL_LDFLAGS += -Wl,--wrap=clock_gettime,--wrap=epoll_wait

# No memory for a resource, or for an object.
$(BUILD)/tests/unit/control/test-control: ALL_LDFLAGS += -Wl,--wrap=resources_set,--wrap=map_at_str

# A control plane that is nothing but ready or not.
$(BUILD)/tests/unit/control/test-readiness: ALL_LDFLAGS += -Wl,--wrap=control_unready,--wrap=control_stale

# An API server that answers when the test says so.
$(BUILD)/tests/unit/control/test-gate: ALL_LDFLAGS += -Wl,--wrap=kube_request_new,--wrap=kube_request_cancel,--wrap=now_realtime_us

# What nodes are told.
$(BUILD)/tests/unit/control/test-pod-ranges: ALL_LDFLAGS += -Wl,--wrap=xds_server_set

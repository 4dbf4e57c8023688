# SPDX-License-Identifier: Apache-2.0
# What is in the files of network namespaces is the test's own.
$(addprefix $(BUILD)/tests/unit/agent/test-pods-,left sandbox upgrade): ALL_LDFLAGS += -Wl,--wrap=enrolment_refresh,--wrap=enrolment_fits
# Memory that ends.
$(BUILD)/tests/unit/agent/test-pods-left: ALL_LDFLAGS += -Wl,--wrap=reallocarray
# Whose processes run in this container is, too, and which addresses it has.
$(BUILD)/tests/unit/agent/test-objects-left: ALL_LDFLAGS += -Wl,--wrap=procs_find,--wrap=procs_any,--wrap=enrolment_fits
# How often all processes are gone through.
$(BUILD)/tests/unit/agent/test-netns-find: ALL_LDFLAGS += -Wl,--wrap=opendir
# A clock that the test turns.
$(addprefix $(BUILD)/tests/unit/agent/test-,cni-fresh kube-write): ALL_LDFLAGS += -Wl,--wrap=clock_gettime,--wrap=epoll_wait
# The program that the agent starts.
$(BUILD)/tests/unit/agent/test-maker: $(BUILD)/bin/culvert-maker
$(BUILD)/tests/unit/agent/test-dests-memory: ALL_LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
# A kernel and a control plane that are the test's.
$(BUILD)/tests/unit/agent/test-mesh: ALL_LDFLAGS += -Wl,--wrap=xds_client_new,--wrap=xds_client_free,--wrap=xds_client_part \
	-Wl,--wrap=datapath_map_fd,--wrap=datapath_put,--wrap=bpf_map_update_elem,--wrap=bpf_map_delete_elem,--wrap=bpf_map_get_next_key
# A kernel that refuses.
$(BUILD)/tests/unit/agent/test-pinlink: ALL_LDFLAGS += -Wl,--wrap=bpf_obj_get,--wrap=bpf_link_update,--wrap=bpf_link_create,--wrap=bpf_obj_pin

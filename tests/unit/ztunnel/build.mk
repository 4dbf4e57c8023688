# SPDX-License-Identifier: Apache-2.0

# mesh.c: what these tests share.
ztunnel-mesh := $(BUILD)/obj/tests/unit/ztunnel/mesh.o
$(patsubst %.c,$(BUILD)/%,$(filter tests/unit/ztunnel/%,$(unit-tests))): $(ztunnel-mesh)
$(BUILD)/tests/unit/ztunnel/%: ALL_LDFLAGS += $(ztunnel-mesh)

# rig.c, apps.c: workers, pods and applications for the tests of the data path.
ztunnel-rig := $(addprefix $(BUILD)/obj/tests/unit/,ztunnel/apps.o ztunnel/rig.o hbone/certs.o)
$(addprefix $(BUILD)/tests/unit/ztunnel/test-,accept help inbound outbound pool relay worker worker-stock): $(ztunnel-rig)
$(addprefix $(BUILD)/tests/unit/ztunnel/test-,accept help inbound outbound pool relay worker worker-stock): ALL_LDFLAGS += $(ztunnel-rig)

# reference.c, random_policy.c: a second evaluator of L4 policy and what it is compared on.
ztunnel-random := $(addprefix $(BUILD)/obj/tests/unit/ztunnel/,random_policy.o reference.o)
$(addprefix $(BUILD)/tests/unit/ztunnel/test-,authz-random authz-yaml policy-set): $(ztunnel-random)
$(addprefix $(BUILD)/tests/unit/ztunnel/test-,authz-random authz-yaml policy-set): ALL_LDFLAGS += $(ztunnel-random)

# How many rules a decision looks at.
$(BUILD)/tests/unit/ztunnel/test-policy-set: ALL_LDFLAGS += -Wl,--wrap=policy_rule_is_match
# A clock that the test sets.
$(BUILD)/tests/unit/ztunnel/test-certs: ALL_LDFLAGS += -Wl,--wrap=now_realtime_us,--wrap=clock_gettime,--wrap=epoll_wait

# How much memory there is.
$(BUILD)/tests/unit/ztunnel/test-memory: ALL_LDFLAGS += -Wl,--wrap=malloc
# Memory that ends in the middle of a change.
$(BUILD)/tests/unit/ztunnel/test-xds-whole: ALL_LDFLAGS += -Wl,--wrap=state_builder_put_policy
$(BUILD)/tests/unit/ztunnel/test-state-memory: ALL_LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
# Memory that ends while the agent is left.
$(BUILD)/tests/unit/ztunnel/test-node-drain: ALL_LDFLAGS += -Wl,--wrap=calloc
# Memory that ends while the agent is told.
$(BUILD)/tests/unit/ztunnel/test-agent-link: ALL_LDFLAGS += -Wl,--wrap=loop_timer_set
# Memory that ends while workers are asked.
$(BUILD)/tests/unit/ztunnel/test-node-trust: ALL_LDFLAGS += -Wl,--wrap=worker_post_collect
# Memory that ends while sockets are handed over.
$(BUILD)/tests/unit/ztunnel/test-worker-stock: ALL_LDFLAGS += -Wl,--wrap=calloc,--wrap=worker_post_sockets,--wrap=worker_post_state
# Who does not ask the other worker for help.
$(BUILD)/tests/unit/ztunnel/test-relay: ALL_LDFLAGS += -Wl,--wrap=help_init
# Descriptors that are all but used up.
$(BUILD)/tests/unit/ztunnel/test-dns-tcp: ALL_LDFLAGS += -Wl,--wrap=descriptors_are_scarce

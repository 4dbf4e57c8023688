# SPDX-License-Identifier: Apache-2.0
# Run as root: build/bin/test-bpf [part of a test's name ...]
test-progs += tests/bpf/test-bpf
bpf-test-objs := $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out tests/bpf/test-bpf.c,$(wildcard tests/bpf/*.c)))
$(BUILD)/bin/test-bpf: $(bpf-test-objs)
# The rule for test programs puts these behind its libraries: name those again.
LIBS-test-bpf := $(bpf-test-objs) $(BUILD)/agent.a $(BUILD)/libculvert.a -luring

# SPDX-License-Identifier: Apache-2.0
# Run as root: build/bin/test-bpf [substring of a test's name]
test-progs += tests/bpf/test-bpf
bpf-test-srcs := $(wildcard tests/bpf/*.c)
$(BUILD)/bin/test-bpf: $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out tests/bpf/test-bpf.c,$(bpf-test-srcs)))
LIBS-test-bpf := -luring

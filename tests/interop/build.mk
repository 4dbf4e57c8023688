# SPDX-License-Identifier: Apache-2.0
test-progs += tests/interop/torture
torture-objs := $(patsubst %.c,$(BUILD)/obj/%.o,tests/interop/torture_io.c tests/interop/torture_plan.c)
$(BUILD)/bin/torture: $(torture-objs)
LIBS-torture := $(torture-objs) -luring

# SPDX-License-Identifier: Apache-2.0
test-progs += tests/interop/torture
torture-objs := $(patsubst %,$(BUILD)/obj/tests/interop/torture_%.o,end io plan wait)
$(BUILD)/bin/torture: $(torture-objs)
LIBS-torture := $(torture-objs) -luring

# SPDX-License-Identifier: Apache-2.0
test-progs += tests/interop/torture
$(BUILD)/bin/torture: $(BUILD)/obj/tests/interop/torture_io.o
LIBS-torture := $(BUILD)/obj/tests/interop/torture_io.o -luring

# SPDX-License-Identifier: Apache-2.0
# The parts of the load generator that are tested; what they call is the tests' own.
$(BUILD)/tests/unit/bench/test-openloop: $(BUILD)/obj/tests/bench/openloop.o
$(BUILD)/tests/unit/bench/test-openloop: part-libs += $(BUILD)/obj/tests/bench/openloop.o
$(BUILD)/tests/unit/bench/test-stolen: $(BUILD)/obj/tests/bench/stolen.o
$(BUILD)/tests/unit/bench/test-stolen: part-libs += $(BUILD)/obj/tests/bench/stolen.o
$(BUILD)/tests/unit/bench/test-stolen: ALL_LDFLAGS += -Wl,--wrap=pread

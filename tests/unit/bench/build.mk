# SPDX-License-Identifier: Apache-2.0
# The part of the load generator that is tested; what it calls is the test's own.
$(BUILD)/tests/unit/bench/test-openloop: $(BUILD)/obj/tests/bench/openloop.o
$(BUILD)/tests/unit/bench/test-openloop: part-libs += $(BUILD)/obj/tests/bench/openloop.o

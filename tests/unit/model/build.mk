# SPDX-License-Identifier: Apache-2.0

# Memory that runs out.
$(BUILD)/tests/unit/model/test-vip: ALL_LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

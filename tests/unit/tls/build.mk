# SPDX-License-Identifier: Apache-2.0

# What the ciphers leave in memory.
$(BUILD)/tests/unit/tls/test-gcm $(BUILD)/tests/unit/tls/test-gcm-cipher: ALL_LDFLAGS += -Wl,--wrap=aligned_alloc,--wrap=free

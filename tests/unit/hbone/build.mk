# SPDX-License-Identifier: Apache-2.0

# certs.c: identities for tests.
hbone-certs := $(BUILD)/obj/tests/unit/hbone/certs.o
$(BUILD)/tests/unit/hbone/test-tunnel: $(hbone-certs)
$(BUILD)/tests/unit/hbone/test-tunnel: ALL_LDFLAGS += $(hbone-certs)

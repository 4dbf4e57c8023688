# SPDX-License-Identifier: Apache-2.0

# certs.c: identities for tests.
hbone-certs := $(BUILD)/obj/tests/unit/hbone/certs.o
$(BUILD)/tests/unit/hbone/test-tunnel: $(hbone-certs)
$(BUILD)/tests/unit/hbone/test-tunnel: ALL_LDFLAGS += $(hbone-certs) -Wl,--wrap=scratch_encrypt
$(BUILD)/tests/unit/hbone/test-pace: $(hbone-certs)
$(BUILD)/tests/unit/hbone/test-pace: ALL_LDFLAGS += $(hbone-certs)
$(BUILD)/tests/unit/hbone/test-scratch: $(hbone-certs)
$(BUILD)/tests/unit/hbone/test-scratch: ALL_LDFLAGS += $(hbone-certs) -Wl,--wrap=SSL_write_ex,--wrap=SSL_read_ex
$(BUILD)/tests/unit/hbone/test-tunnel-memory: $(hbone-certs)
$(BUILD)/tests/unit/hbone/test-tunnel-memory: ALL_LDFLAGS += $(hbone-certs) -Wl,--wrap=buf_append,--wrap=malloc
$(BUILD)/tests/unit/hbone/test-handshaker: $(hbone-certs)
$(BUILD)/tests/unit/hbone/test-handshaker: ALL_LDFLAGS += $(hbone-certs) -Wl,--wrap=SSL_do_handshake

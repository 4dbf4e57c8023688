# SPDX-License-Identifier: Apache-2.0
test-progs += tests/bench/loadgen
loadgen-objs := $(patsubst %.c,$(BUILD)/obj/%.o,tests/bench/client.c tests/bench/openloop.c tests/bench/serve.c tests/bench/stolen.c)
$(BUILD)/bin/loadgen: $(loadgen-objs)
LIBS-loadgen := $(loadgen-objs)

# ztunnel without encryption, for the benchmark alone and apart from the programs: `make bench` builds it.
plain-wrapped := SSL_read_ex SSL_write_ex SSL_get_error SSL_free
bench-plain := $(BUILD)/bench/culvert-ztunnel-plain
.PHONY: bench-plain
bench-plain: $(bench-plain)
$(bench-plain): $(BUILD)/obj/ztunnel/main.o $(BUILD)/obj/tests/bench/plain.o $(BUILD)/ztunnel.a $(BUILD)/libculvert.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_LDFLAGS) $(plain-wrapped:%=-Wl,--wrap=%) $^ $(PKG_LIBS) -o $@
test-progs += tests/bench/decision tests/bench/mesh-size tests/bench/xds-clients

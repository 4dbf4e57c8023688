# SPDX-License-Identifier: Apache-2.0
# Culvert. `make help` lists the targets. Each folder names its sources in its own build.mk; everything made is below build/.
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all

V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),@:,@printf '  %-8s %s\n' "$(1)" "$(2)")

# SAN=1: ASan and UBSan; FUZZ=1: those and libFuzzer. Each in a build folder of its own.
SAN ?= 0
FUZZ ?= 0
, := ,
is-san := $(filter 1,$(SAN) $(FUZZ))

# ARCH=arm64 or amd64, as Debian calls them: other than this machine's, by Debian's cross compiler, into build/ARCH.
triple-amd64 := x86_64-linux-gnu
triple-arm64 := aarch64-linux-gnu
HOST_ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname -m)))
ARCH := $(HOST_ARCH)
TRIPLE := $(or $(triple-$(ARCH)),$(error ARCH=$(ARCH): amd64 or arm64))
cross := $(filter-out $(HOST_ARCH),$(ARCH))
$(if $(and $(cross),$(is-san)),$(error ARCH=$(ARCH) is another machine's: not with SAN=1 or FUZZ=1))
BUILD := build$(if $(filter 1,$(FUZZ)),/fuzz,$(if $(filter 1,$(SAN)),/san))$(addprefix /,$(cross))

CC := $(if $(is-san),clang,$(if $(cross),$(TRIPLE)-)gcc)
CLANG := clang
AR := $(if $(cross),$(TRIPLE)-)gcc-ar
PKG_CONFIG := $(if $(cross),PKG_CONFIG_LIBDIR=/usr/lib/$(TRIPLE)/pkgconfig:/usr/share/pkgconfig )pkg-config
PKGS := openssl libnghttp2 yaml-0.1 libprotobuf-c jansson libcares libseccomp libcap-ng libbpf libcurl
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null) -lpthread

WARN := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wno-unused-parameter -Wno-missing-field-initializers -Werror
HARDEN := -fstack-protector-strong -fPIE $(if $(is-san),,-D_FORTIFY_SOURCE=2)
SANFLAGS := $(if $(is-san),-fsanitize=address$(,)undefined$(if $(filter 1,$(FUZZ)),$(,)fuzzer-no-link) \
	-fno-sanitize-recover=all -fno-omit-frame-pointer)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
CFLAGS ?= -O2 -g
# As the kernel, whose lists ours are: gcc 12 takes the head and the elements of one, which it sees by two types, for
# apart, and reads the head of a list that changes but once (tests/unit/base/test-list.c).
ALIAS := -fno-strict-aliasing
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) $(HARDEN) $(ALIAS) $(SANFLAGS) -D_GNU_SOURCE -Iinclude -Iuserspace/lib -I. \
	-I$(BUILD)/gen $(PKG_CFLAGS) -ffile-prefix-map=$(CURDIR)=. -MMD -MP
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,--as-needed $(SANFLAGS) $(LDFLAGS)

# Filled by the build.mk files.
lib-srcs :=
lib-made :=
agent-srcs :=
maker-srcs :=
ztunnel-srcs :=
control-srcs :=
cli-srcs :=
cni-srcs :=
bpf-srcs :=
proto-srcs :=
fuzz-targets :=
test-progs :=
# Every tests/unit/*/test-*.c is a test; the build.mk beside it says only what else one needs.
# A sanitised ztunnel has no filter of system calls and no malloc() of its own.
unit-tests := $(sort $(filter-out $(if $(is-san),%/test-seccomp.c %/test-allocate.c %/test-relay.c),$(wildcard tests/unit/*/test-*.c)))
include $(sort $(wildcard bpf/build.mk userspace/*/build.mk userspace/*/*/build.mk ztunnel/build.mk \
	tests/*/build.mk tests/*/*/build.mk tools/*/build.mk))

# What is in an archive is said by these: a source less must leave it, too.
lists := $(filter-out tests/% tools/%,$(MAKEFILE_LIST))

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
parts := agent maker ztunnel control cli cni
progs-agent := culvert-agent
progs-maker := culvert-maker
progs-ztunnel := culvert-ztunnel
progs-control := culvert-control
progs-cli := culvert
progs-cni := culvert-cni
PROGS := $(foreach p,$(parts),$(if $($(p)-srcs),$(BUILD)/bin/$(progs-$(p))))

.PHONY: all
all: $(PROGS) $(addprefix $(BUILD)/bin/,$(notdir $(test-progs))) ## build everything

# protobuf: foo.proto -> foo.pb-c.[ch]
proto-c := $(patsubst %.proto,$(BUILD)/gen/%.pb-c.c,$(proto-srcs))
proto-h := $(proto-c:.c=.h)
$(BUILD)/gen/%.pb-c.c $(BUILD)/gen/%.pb-c.h: %.proto
	$(call say,PROTOC,$<)
	$(Q)mkdir -p $(BUILD)/gen && protoc-c --c_out=$(BUILD)/gen -I. $<
$(BUILD)/gen-obj/%.o: $(BUILD)/gen/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -Wno-error -w -c $< -o $@

# BPF: foo.bpf.c -> foo.bpf.o, linked into culvert.bpf.o -> culvert.skel.h; the same bytes for every ARCH and folder.
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Wno-missing-declarations -fdebug-compilation-dir=. -Iinclude -I. -I/usr/include/$(TRIPLE) \
	$(if $(cross),-idirafter /usr/$(TRIPLE)/include)
bpf-objs := $(patsubst %.c,$(BUILD)/%.o,$(bpf-srcs))
$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@ && llvm-strip -g $@
$(BUILD)/bpf/culvert.bpf.o: $(bpf-objs) bpf/build.mk
	$(call say,BPFLINK,$@)
	$(Q)bpftool gen object $@ $(filter %.o,$^)
$(BUILD)/gen/culvert.skel.h: $(BUILD)/bpf/culvert.bpf.o
	$(call say,SKEL,$@)
	$(Q)mkdir -p $(@D) && bpftool gen skeleton $< name culvert_bpf > $@

.PHONY: gen
gen: $(proto-h) $(if $(bpf-srcs),$(BUILD)/gen/culvert.skel.h)

$(BUILD)/obj/%.o: %.c | $(proto-h) $(if $(bpf-srcs),$(BUILD)/gen/culvert.skel.h)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(CFLAGS-$*) -DCULVERT_VERSION='"$(VERSION)"' -c $< -o $@

# What says its version is built anew when that changes.
versioned := $(shell git grep -lE 'CULVERT_VERSION|HONOURED_AS_OF' -- '*.c' 2>/dev/null)
$(call obj,$(versioned)): $(BUILD)/gen/version
$(BUILD)/gen/version: FORCE
	$(Q)mkdir -p $(@D) && echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@
.PHONY: FORCE
FORCE:

lib-objs := $(call obj,$(lib-srcs)) $(patsubst $(BUILD)/gen/%.c,$(BUILD)/gen-obj/%.o,$(proto-c) $(lib-made))
$(BUILD)/libculvert.a: $(lib-objs) $(lists)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

# The host's runtime starts the plugin, whatever C library the host has.
LDFLAGS-cni := $(if $(is-san),,-static-pie)
LIBS-cni := -ljansson
# Small, and nothing of a library's in it: it has the agent's capabilities.
LDFLAGS-maker := $(LDFLAGS-cni)
LIBS-maker := -lpthread

# Each part is an archive of all but its main.o, so that unit tests can link any of it.
define part-rules
$(BUILD)/$(1).a: $$(filter-out %/main.o,$$(call obj,$$($(1)-srcs))) $$(lists)
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$(filter %.o,$$^)
$(BUILD)/bin/$(progs-$(1)): $$(filter %/main.o,$$(call obj,$$($(1)-srcs))) $(BUILD)/$(1).a $(BUILD)/libculvert.a
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(ALL_LDFLAGS) $$(LDFLAGS-$(1)) $$^ $$(or $$(LIBS-$(1)),$$(PKG_LIBS)) -o $$@
endef
$(foreach p,$(parts),$(eval $(call part-rules,$(p))))
part-libs := $(foreach p,$(parts),$(if $($(p)-srcs),$(BUILD)/$(p).a)) $(BUILD)/libculvert.a

# tests/unit/foo/test-bar.c -> build/tests/foo/test-bar
unit-bins := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(unit-tests))
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(part-libs)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_LDFLAGS) $< -Wl,--start-group $(part-libs) -Wl,--end-group $(PKG_LIBS) -lcmocka -o $@

# tests/fuzz/fuzz-foo.c -> build/fuzz/bin/fuzz-foo; only with FUZZ=1
fuzz-bins := $(patsubst tests/fuzz/%.c,build/fuzz/bin/%,$(fuzz-targets))
build/fuzz/bin/fuzz-%: $(BUILD)/obj/tests/fuzz/fuzz-%.o $(part-libs)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer $< -Wl,--start-group $(part-libs) -Wl,--end-group $(PKG_LIBS) -o $@

# Helper programs of the tests: one source each.
define test-prog-rule
$(BUILD)/bin/$(notdir $(1)): $(BUILD)/obj/$(1).o $$(part-libs)
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(ALL_LDFLAGS) $$< -Wl,--start-group $$(part-libs) -Wl,--end-group $$(PKG_LIBS) $$(LIBS-$(notdir $(1))) -o $$@
endef
$(foreach t,$(test-progs),$(eval $(call test-prog-rule,$(t))))

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

include tools/make.mk

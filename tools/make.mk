# SPDX-License-Identifier: Apache-2.0
# Targets that people type; how things are built is in ../Makefile.
# Those that may install what the build needs run make again: packages found missing before are found then.

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile tools/make.mk
	@echo "  V=1 shows the commands; SAN=1 builds under ASan and UBSan, into build/san."

.PHONY: setup
setup: ## install packages and make the system users (root, Debian 12)
	$(Q)tools/setup

IMAGE ?= culvert.test/culvert:1
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
.PHONY: image
image: $(PROGS) ## container image and SBOM into build/image, without docker (IMAGE=NAME:TAG; ARCH=arm64)
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) tools/deploy/image --arch $(ARCH) --bin $(BUILD)/bin --version '$(VERSION)' \
		--name $(IMAGE) $(IMAGE_FLAGS) $(BUILD)/image

.PHONY: dist
dist: $(BUILD)/bin/culvert ## archive of the command line, chart and samples, and a script that fetches it, into build/dist (DIST_URL=URL; ARCH=arm64)
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) tools/deploy/dist --arch $(ARCH) --bin $(BUILD)/bin --strip $(TRIPLE)-strip \
		--version '$(VERSION)' --url '$(DIST_URL)' $(BUILD)/dist

.PHONY: test
test: ## every test, as the CI runs it (root); of test-kube a part
	$(Q)tools/setup kube
	$(Q)tools/run-tests build style+tools unit bpf interop kernel+mesh,unit-san kube-quick+fuzz mesh-san

.PHONY: test-unit
test-unit: ## unit tests (SAN=1: under ASan and UBSan)
	$(Q)tools/run-tests $(if $(filter 1,$(SAN)),unit-san,unit)

.PHONY: test-bpf
test-bpf: ## BPF programs in the running kernel (root)
	$(Q)tools/run-tests bpf

.PHONY: test-mesh
test-mesh: ## the whole mesh in the lab (root; SAN=1: under ASan and UBSan)
	$(Q)tools/run-tests $(if $(filter 1,$(SAN)),mesh-san,mesh)

.PHONY: test-interop
test-interop: ## against openssl, Envoy and Istio's ztunnel, those that are there (root)
	$(Q)tools/run-tests interop

.PHONY: test-kube
test-kube: ## on a real Kubernetes cluster of two nodes, built from source at first use (root)
	$(Q)tools/setup kube
	$(Q)tools/run-tests kube

.PHONY: test-kube-all
test-kube-all: ## the same on the two minor versions before, too (root)
	$(Q)tools/setup kube
	$(Q)for v in $$(tools/kube/build --versions); do \
		echo "== Kubernetes $$v"; CULVERT_KUBE_VERSION=$$v tools/run-tests kube || exit 1; done

.PHONY: bench-kube
bench-kube: ## how fast the mesh follows a real cluster, and how big it is there (root; ROUNDS=20)
	$(Q)tools/setup kube
	$(Q)$(MAKE) --no-print-directory all
	$(Q)/usr/bin/python3 tests/kube/bench.py $(if $(ROUNDS),--rounds $(ROUNDS))

FUZZ_TIME ?= 300
FUZZ_SEED ?= 0
.PHONY: fuzz
fuzz: ## libFuzzer, FUZZ_TIME=300 seconds per target, other inputs each time (FUZZ_SEED=N: those of that seed)
	$(Q)FUZZ_TIME=$(FUZZ_TIME) FUZZ_SEED=$(FUZZ_SEED) tools/run-tests fuzz

.PHONY: check-style
check-style: ## format, layers, size limits, clang-tidy, cppcheck; results are cached per file
	$(Q)tools/check-style

.PHONY: format
format: ## clang-format everything
	$(Q)git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

.PHONY: demo
demo: setup ## two nodes, real nginx and Apache, one label: each claim with its evidence (root)
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tools/lab/demo

.PHONY: demo-kube
demo-kube: ## the same on a real Kubernetes cluster of two nodes (root; KEEP=1: it stays)
	$(Q)tools/setup kube
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tools/kube/demo

.PHONY: clean-lab
clean-lab: ## remove all that the lab, the tests and the demo have made (root)
	$(Q)tools/lab/clean

.PHONY: bench
bench: setup ## speed and size, beside no mesh and the peers, into build/bench (root; QUICK=1: short)
	$(Q)$(MAKE) --no-print-directory all bench-plain
	$(Q)/usr/bin/python3 tests/bench/bench.py $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(ROWS),--rows "$(ROWS)") $(if $(CONTESTANTS),--contestants "$(CONTESTANTS)")

.PHONY: kernels
kernels: setup ## Debian's kernels in emulated machines: BPF tests, a small mesh, the verifier's figures (no root needed)
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tools/kernels/kernels --refresh $(if $(TESTS),--tests $(TESTS)) $(KERNELS)

SOAK_ROUNDS ?= 200
.PHONY: soak
soak: ## kill -9 of every process at random, SOAK_ROUNDS=200, and of a cluster's, 100; 17,500 random direct connections, each of two ways (root)
	$(Q)tools/setup kube
	$(Q)$(MAKE) --no-print-directory all
	$(Q)CULVERT_BIN=$(CURDIR)/$(BUILD)/bin SOAK_ROUNDS=$(SOAK_ROUNDS) /usr/bin/python3 -m pytest -q tests/mesh tests/interop -k soak
	$(Q)CULVERT_BIN=$(CURDIR)/$(BUILD)/bin CULVERT_FAULT_ROUNDS=100 /usr/bin/python3 -m pytest -q tests/kube/test_faults.py

# For tools/run-tests: what there is to build and run, and one line per program.
.PHONY: list-unit-tests list-fuzz-targets unit-bins fuzz-bins
unit-bins: $(unit-bins)
fuzz-bins: $(fuzz-bins)
list-unit-tests:
	@printf '%s\n' $(unit-bins)
list-fuzz-targets:
	@printf '%s\n' $(fuzz-bins)

.PHONY: clean
clean: ## remove build/
	$(Q)rm -rf build

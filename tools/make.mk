# SPDX-License-Identifier: Apache-2.0
# Targets that people type; how things are built is in ../Makefile.
.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile tools/make.mk

.PHONY: test-unit
test-unit: $(unit-bins) ## unit tests (SAN=1: under ASan and UBSan)
	$(Q)set -e; for t in $(unit-bins); do echo "== $$t"; $$t; done

.PHONY: clean
clean: ## remove build/
	$(Q)rm -rf build

# SPDX-License-Identifier: Apache-2.0
# The lab's targets. demo runs make again after setup: what setup installs is looked up when make starts.
.PHONY: demo
demo: ## two nodes, nginx and httpd, meshed, with evidence for each claim (root)
	$(Q)if [ -x tools/setup ]; then tools/setup; fi
	$(Q)$(MAKE) --no-print-directory all
	$(Q)CULVERT_BIN=$(abspath $(BUILD)/bin) tools/lab/demo

.PHONY: test-mesh
test-mesh: all ## the mesh tests on the lab (root); SAN=1: all programs under ASan and UBSan
	$(Q)CULVERT_BIN=$(abspath $(BUILD)/bin) $(if $(filter 1,$(SAN)),CULVERT_TEST_SLOW=4 CULVERT_TEST_BULK=67108864) \
		/usr/bin/python3 -m pytest -p no:cacheprovider -q $(PYTEST_ARGS) tests/mesh

.PHONY: clean-lab
clean-lab: ## stop and remove everything that the lab or the demo made (root)
	$(Q)if [ -d /run/culvert-lab ]; then if [ -x $(BUILD)/bin/culvert ]; then $(BUILD)/bin/culvert lab down; \
		else echo "clean-lab: build first (make): the lab is taken down by build/bin/culvert"; exit 1; fi; fi

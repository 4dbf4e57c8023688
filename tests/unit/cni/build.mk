# SPDX-License-Identifier: Apache-2.0
unit-tests += $(addprefix tests/unit/cni/,test-agent.c test-config.c test-plugin.c)

# SPDX-License-Identifier: Apache-2.0
unit-tests += $(patsubst %,tests/unit/model/test-%.c,enrol entry index model peer policy service telemetry workload)

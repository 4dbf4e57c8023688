# SPDX-License-Identifier: Apache-2.0
unit-tests += $(patsubst %,tests/unit/model/test-%.c,enrol entry model peer policy scratch service telemetry workload)

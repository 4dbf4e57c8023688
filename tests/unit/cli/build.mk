# SPDX-License-Identifier: Apache-2.0
unit-tests += tests/unit/cli/test-output.c
unit-tests += tests/unit/cli/test-words.c
unit-tests += tests/unit/cli/test-chart.c
unit-tests += tests/unit/cli/test-websocket.c

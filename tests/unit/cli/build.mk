# SPDX-License-Identifier: Apache-2.0
unit-tests += tests/unit/cli/test-output.c

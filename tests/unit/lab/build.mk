# SPDX-License-Identifier: Apache-2.0
unit-tests += tests/unit/lab/test-config.c tests/unit/lab/test-expand.c tests/unit/lab/test-util.c

# SPDX-License-Identifier: Apache-2.0
unit-tests += tests/unit/hbone/test-head.c tests/unit/hbone/test-session.c

# SPDX-License-Identifier: Apache-2.0
unit-tests += tests/unit/bench/test-histogram.c

# SPDX-License-Identifier: Apache-2.0
unit-tests += $(patsubst %,tests/unit/source/test-%.c,folder manifest mesh-config object schema store words yaml)

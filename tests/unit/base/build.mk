# SPDX-License-Identifier: Apache-2.0
unit-tests += $(patsubst %,tests/unit/base/test-%.c,buf cel drop index log loop map option str) \
	$(wildcard tests/unit/base/test-hamt.c)

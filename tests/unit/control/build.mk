# SPDX-License-Identifier: Apache-2.0
ifneq ($(wildcard userspace/lib/model/build.mk),)
unit-tests += $(addprefix tests/unit/control/,test-ca.c test-ca-service.c)
endif

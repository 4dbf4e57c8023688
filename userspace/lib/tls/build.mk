# SPDX-License-Identifier: Apache-2.0
lib-srcs += $(addprefix userspace/lib/tls/,spiffe.c key.c verify.c identity.c)

# SPDX-License-Identifier: Apache-2.0
lib-srcs += $(addprefix userspace/lib/tls/,channel.c trust.c spiffe.c key.c verify.c identity.c)

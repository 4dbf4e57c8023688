# SPDX-License-Identifier: Apache-2.0
# libipsec-mb is Debian's for amd64 only; loaded when the program runs, so that nothing is linked.
HAS_IPSEC_MB := $(and $(filter amd64,$(ARCH)),$(wildcard /usr/include/intel-ipsec-mb.h))
lib-srcs += $(addprefix userspace/lib/tls/,channel.c trust.c spiffe.c key.c verify.c identity.c \
	$(if $(HAS_IPSEC_MB),gcm.c gcm_cipher.c gcm_records.c,gcm_none.c))

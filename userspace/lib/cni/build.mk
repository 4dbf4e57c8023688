# SPDX-License-Identifier: Apache-2.0
lib-cni := userspace/lib/cni
lib-srcs += $(addprefix $(lib-cni)/,cni_conf.c cni_folder.c)

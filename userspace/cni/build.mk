# SPDX-License-Identifier: Apache-2.0
cni := userspace/cni
cni-srcs += $(addprefix $(cni)/,agent.c config.c leave.c plugin.c main.c)

# SPDX-License-Identifier: Apache-2.0
maker-srcs += userspace/agent/maker/main.c userspace/agent/netns.c userspace/agent/sockets.c

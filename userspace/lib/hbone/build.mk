# SPDX-License-Identifier: Apache-2.0
hbone := userspace/lib/hbone
lib-srcs += $(hbone)/head.c $(hbone)/session.c $(hbone)/tunnel.c

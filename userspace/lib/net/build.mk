# SPDX-License-Identifier: Apache-2.0
net := userspace/lib/net
lib-srcs += $(net)/addr.c $(net)/cidr.c $(net)/seqpacket.c $(net)/resolve.c $(net)/shares.c $(net)/tcp.c $(net)/unix.c

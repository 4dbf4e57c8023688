# SPDX-License-Identifier: Apache-2.0
hbone := userspace/lib/hbone
lib-srcs += $(hbone)/calm.c $(hbone)/handshake.c $(hbone)/handshaker.c $(hbone)/head.c $(hbone)/scratch.c $(hbone)/session.c $(hbone)/session_recv.c $(hbone)/settings.c $(hbone)/stream.c $(hbone)/tunnel.c $(hbone)/tunnel_input.c

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* option - the kernel's numbers of socket options (asm-generic/socket.h, linux/tcp.h), which its
 * headers do not give to BPF programs. */

#define CV_SOL_SOCKET      1
#define CV_SO_PRIORITY     12
#define CV_SO_BINDTODEVICE 25

#define CV_SOL_TCP        6
#define CV_TCP_CONGESTION 13

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* torture_io - the ways in which an application may move bytes through a socket. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "torture_wait.h"

enum writing { W_SEND, W_WRITEV, W_MORE, W_SPLICE, W_SENDFILE, W_ZEROCOPY, W_URING, W_MAX };
enum reading { R_RECV, R_PEEK, R_WAITALL, R_SPLICE, R_URING, R_POLL, R_LOWAT, R_MAX };
/** write_some(), read_some() - one call of this kind, at most @n bytes. Return: as send(2),
 * recv(2). */
ssize_t write_some(int fd, enum writing how, const uint8_t *b, size_t n);
ssize_t read_some(int fd, enum reading how, uint8_t *b, size_t n);
/** io_close() - give back what such calls of this thread have kept. */
void io_close(void);

/** zerocopy_wait() - until the kernel is done with the pages of @sends calls. Return: 0, or
 * -ETIMEDOUT where it never says so. */
int zerocopy_wait(int fd, uint32_t sends);

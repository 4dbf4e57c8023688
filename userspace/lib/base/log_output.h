/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* log_output - where log.c's lines go. Who reads them may stop, as containerd does while it is
 * restarted, and nobody's traffic is to wait for that. Thread-safe. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** log_output_write() - one whole line to stderr. What has no room waits for it, but no longer than
 * 100 ms, and not at all while the reader has not moved since. Return: false: it is lost. */
bool log_output_write(const char *line, size_t len);
/** log_output_lose() - @n lines are lost: to be told of when there is room. */
void log_output_lose(uint64_t n);
/** log_output_take_lost() - Return: how many, of which nobody has told yet. */
uint64_t log_output_take_lost(void);

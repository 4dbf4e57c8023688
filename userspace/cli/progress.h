/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* progress - what a long command is doing: a line per step, which on a terminal is written over
 * while it waits. One thread. */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

#define PROGRESS_TEXT_MAX 512

/** struct progress - zero it before use. */
struct progress {
	char last[PROGRESS_TEXT_MAX];
	uint64_t said_us;
	bool is_open; /* a line that is to be written over */
};

/** progress_wait() - "- TEXT": what is waited for. Elsewhere than on a terminal a line when it
 * changes, at most one in two seconds. */
void progress_wait(struct progress *p, const char *fmt, ...) _printf_(2, 3);
/** progress_done() - a tick and TEXT. */
void progress_done(struct progress *p, const char *fmt, ...) _printf_(2, 3);
/** progress_note() - "- TEXT", which stays. */
void progress_note(struct progress *p, const char *fmt, ...) _printf_(2, 3);
/** progress_fail() - a cross and TEXT. */
void progress_fail(struct progress *p, const char *fmt, ...) _printf_(2, 3);

/** confirm() - ask on the terminal. Return: is it yes? No answer is no. */
_must_check_ bool confirm(const char *question);

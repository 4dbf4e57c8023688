/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* term - what goes on a terminal only, numbers for people, and the rounds of a live table. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define TERM_WIDTH    100
#define TERM_NUMBER   32
#define TERM_RED      "\033[31m"
#define TERM_GREEN    "\033[32m"
#define TERM_BOLD     "\033[1m"
#define TERM_NO_COLOR "\033[0m"

/** term_color() - @code where stdout is a terminal (and NO_COLOR is not set), else "". */
const char *term_color(const char *code);
/** term_bytes() - "0", "999", "1.2K", "34M", ... of 1024. Return: @buf. */
const char *term_bytes(double n, char buf[TERM_NUMBER]);
/** term_age() - "0.4s", "59s", "3m12s", "5h10m", "12d". Return: @buf. */
const char *term_age(double seconds, char buf[TERM_NUMBER]);

/** struct term_rounds - how often something is shown. */
struct term_rounds {
	bool is_watch;
	uint64_t count;    /* rounds; 0: until it is interrupted, with is_watch; else one */
	uint64_t interval; /* seconds between two */
	uint64_t done;
};

/** term_next() - wait for the next round and begin its picture. Return: false when all are done. */
_must_check_ bool term_next(struct term_rounds *r);

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

/** term_color() - @code where stdout is a terminal (and NO_COLOR is empty or not set), else "". */
const char *term_color(const char *code);
/** term_width() - columns to fill: the terminal's, else TERM_WIDTH. */
size_t term_width(void);
/** term_wrap() - print @text after @first, broken between words to term_width(); further lines
 * begin with @indent. */
void term_wrap(const char *first, const char *indent, const char *text);
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

/* Rows of an option table for a struct term_rounds at @at of the options' struct. */
#define TERM_OPTION_WATCH(at)                                                                      \
	{                                                                                          \
		.name = "watch", .short_name = 'w', .type = OPTION_BOOL,                           \
		.offset = (at) + offsetof(struct term_rounds, is_watch),                           \
		.help = "show it again and again until interrupted"                                \
	}
#define TERM_OPTION_COUNT(at)                                                                      \
	{                                                                                          \
		.name = "count", .type = OPTION_U64,                                               \
		.offset = (at) + offsetof(struct term_rounds, count), .max = 1000000,              \
		.value_name = "N", .help = "show it N times"                                       \
	}
#define TERM_OPTION_INTERVAL(at)                                                                   \
	{                                                                                          \
		.name = "interval", .type = OPTION_U64,                                            \
		.offset = (at) + offsetof(struct term_rounds, interval), .default_value = "1",     \
		.min = 1, .max = 3600, .value_name = "S",                                          \
		.help = "seconds over which rates are taken, and between two pictures"             \
	}

/** term_next() - wait for the next round and begin its picture. Return: false when all are done. */
_must_check_ bool term_next(struct term_rounds *r);

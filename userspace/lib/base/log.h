/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* log - one line per event on stderr, in the form of Istio's ztunnel: text (time, level, target,
 * message and k=v pairs, with tabs between) or JSON. Thread-safe: one write(2) per line. Library
 * code logs at debug only; a daemon logs each failure once. */
#include <stdbool.h>
#include <stdint.h>

#include "macros.h"

enum log_level {
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG,
	LOG_TRACE,
	LOG_LEVEL_MAX,
	LOG_OFF = -1, /* of a filter, not of a line */
	LOG_LEVEL_INVALID = -2,
};

/** log_open() - a daemon's first step, before threads are there and root is given up: from then on
 * nothing waits for who reads stderr where that is a pipe or a socket. What finds no room is lost,
 * and counted in a line as soon as there is room again. SIGPIPE is ignored. */
void log_open(void);

/** log_set_format_json() - JSON lines instead of text. */
void log_set_format_json(bool is_json);

/** log_set_level() - what is written, of every target; log_filter.h has the finer words. Safe from
 * any thread, as are the next two. */
void log_set_level(enum log_level level);
/** log_get_level() - the most that any target writes. */
enum log_level log_get_level(void);
/** log_is_on() - would such a line be written? For those that are costly to make. */
bool log_is_on(enum log_level level, const char *target);

/** log_level_from_string() - "error", "warn", "info", "debug", "trace", "off". Return:
 * LOG_LEVEL_INVALID when unknown. */
enum log_level log_level_from_string(const char *s);
const char *log_level_to_string(enum log_level level);

/**
 * log_write() - write a line. Use the macros.
 * @target: the part that speaks ("agent", "access", "ca"); static string.
 * @fmt:    the message, then key=value pairs that the caller formats: "pod enrolled pod=%s/%s
 * took_us=%llu". errno is left as it was; %m works.
 */
void log_write(enum log_level level, const char *target, const char *fmt, ...) _printf_(3, 4);

/** log_error_errno() and kin: `return log_error_errno("agent", r, "cannot open pod=%s", x);`
 * appends ": <strerror>", returns r. */
int log_write_errno(enum log_level level, const char *target, int r, const char *fmt, ...)
	_printf_(4, 5);

#define log_error(target, ...) log_write(LOG_ERROR, target, __VA_ARGS__)
#define log_warn(target, ...)  log_write(LOG_WARN, target, __VA_ARGS__)
#define log_info(target, ...)  log_write(LOG_INFO, target, __VA_ARGS__)
#define log_debug(target, ...)                                                                     \
	do {                                                                                       \
		if (log_get_level() >= LOG_DEBUG)                                                  \
			log_write(LOG_DEBUG, target, __VA_ARGS__);                                 \
	} while (0)
#define log_error_errno(target, r, ...) log_write_errno(LOG_ERROR, target, r, __VA_ARGS__)
#define log_warn_errno(target, r, ...)  log_write_errno(LOG_WARN, target, r, __VA_ARGS__)

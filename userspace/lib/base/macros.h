/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* macros - the handful of language helpers that every file may use. No state. */
#include <stddef.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define _must_check_   __attribute__((warn_unused_result))
#define _printf_(f, a) __attribute__((format(printf, f, a)))
#define _unused_       __attribute__((unused))
#define _noreturn_     __attribute__((noreturn))

/** streq() - true when the two NUL-terminated strings are equal. Never for secrets. */
#define streq(a, b) (strcmp((a), (b)) == 0)

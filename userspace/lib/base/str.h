/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* str - string helpers. No state. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "macros.h"

bool str_has_prefix(const char *s, const char *prefix);
bool str_has_suffix(const char *s, const char *suffix);
/** str_is_metric_label() - a name that Prometheus lets a label have, and none of its own. */
bool str_is_metric_label(const char *s);
/** str_parse_u64() - a whole decimal string in [min, max]. Return: 0; -EINVAL not a number;
 * -ERANGE. @ret untouched on failure. */
_must_check_ int str_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);
/** str_parse_duration() - as protobuf writes it in JSON, "5s" or "1.5s", and as Go does, "1m30s";
 * units are h, m, s, ms. Return: 0; -EINVAL; -ERANGE more than @max_ms. @ret_ms untouched on
 * failure. */
_must_check_ int str_parse_duration(const char *s, uint64_t max_ms, uint64_t *ret_ms);
/** str_format() - asprintf that returns NULL on lack of memory; caller frees. */
char *str_format(const char *fmt, ...) _printf_(1, 2);
/** str_copy() - bounded copy, always NUL-terminated. Return: 0; -ENOBUFS when cut (destination then
 * ""). */
int str_copy(char *dst, size_t size, const char *src);
/** str_hash() - FNV-1a: not seeded, the same in every process. */
uint32_t str_hash(const char *s);
/** str_hex() - @dst: 2 * @n + 1 bytes: lower case, NUL-terminated. */
void str_hex(const void *p, size_t n, char *dst);
/** str_concat() - the texts one after the other, bounded, always NUL-terminated; where it is hot:
 * many times cheaper than a format. Return: the length, less than @size: what does not fit is cut.
 */
#define str_concat(dst, size, ...)                                                                 \
	str_concat_list((dst), (size), (const char *const[]){__VA_ARGS__, NULL})
size_t str_concat_list(char *dst, size_t size, const char *const *texts);
/** str_utf8_len() - of the character that begins there, neither a surrogate nor longer than it need
 * be. Return: how many bytes; 0: none does. */
size_t str_utf8_len(const char *text);
/** str_utf8() - what is no UTF-8 in it, as where a text was cut inside a character, becomes "?": no
 * JSON takes it. Return: @s. */
char *str_utf8(char *s);
/** str_vprint() - as vsnprintf(), and str_utf8() of what fits: for words that quote what others
 * have written. Return: @dst. */
char *str_vprint(char *dst, size_t size, const char *fmt, va_list ap) _printf_(3, 0);
/** file_read() - a whole file of at most @max bytes, NUL-terminated, caller frees. @ret_len may be
 * NULL. Return: 0; -errno; -EFBIG. */
_must_check_ int file_read(const char *path, size_t max, char **ret, size_t *ret_len);
/** file_write_atomic() - write to a temporary beside @path, fsync, rename. Mode is exact. Return:
 * 0; -errno. */
_must_check_ int file_write_atomic(const char *path, const void *p, size_t n, unsigned int mode);
/** mkdir_p() - make a directory and its parents. Return: 0; -errno. */
int mkdir_p(const char *path, unsigned int mode);
/** random_bytes() - getrandom(2), never short; aborts if the kernel has none. */
void random_bytes(void *p, size_t n);
/** now_realtime_us() - CLOCK_REALTIME in microseconds. */
uint64_t now_realtime_us(void);
/** now_monotonic_us() - CLOCK_MONOTONIC in microseconds. */
uint64_t now_monotonic_us(void);

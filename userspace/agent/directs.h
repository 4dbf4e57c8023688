/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* directs - reads cv_directs, the direct connections that are there: all of them, or a page at a
 * time. Thread: any. */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "culvert/abi/maps.h"

#define DIRECTS_PAGE 500 /* entries, unless one place in the map has more */

/** directs_fn() - @key, @c: an entry as it was a moment ago; borrowed for the call. Return: false
 * when it has seen enough. */
typedef bool directs_fn(void *arg, const struct cv_tuple *key, const struct cv_direct *c);

/**
 * directs_page() - tell the next few hundred entries
 * @fd: cv_directs.
 * @at: 0 at first, then what *@ret_next was. A place in the map, not an entry: what comes and goes
 * in between makes nobody be told twice or left out.
 * @ret_next: 0 when those were the last, or when @fn has seen enough.
 * Return: 0; -ENOMEM; -errno of bpf(2).
 */
_must_check_ int directs_page(int fd, uint32_t at, directs_fn *fn, void *arg, uint32_t *ret_next);

/** directs_each() - tell every entry. Return: as directs_page(). */
_must_check_ int directs_each(int fd, directs_fn *fn, void *arg);

/** directs_tuple() - the connection that is @c under @key, as its client sees it, with the cookie
 * of the client's namespace. */
struct cv_tuple directs_tuple(const struct cv_tuple *key, const struct cv_direct *c);

/** directs_is_open() - established, and not closed by its client yet. */
bool directs_is_open(const struct cv_direct *c);

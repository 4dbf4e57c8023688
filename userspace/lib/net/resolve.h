/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* resolve - a host's name to addresses, as resolv.conf and /etc/hosts say, by c-ares on our loop.
 * Owner: its creator; thread: its loop. Reads resolv.conf anew for each query; nothing blocks but
 * reading these files. */
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"

#define RESOLVE_ADDRS_MAX 16

struct resolve; /* opaque: one query */

/**
 * resolve_cb - the answer, once, from the loop; never inside resolve_new(). The query may be freed
 * inside.
 * @error: 0; -ENOENT no such name; -ETIMEDOUT; -EIO the nameserver failed; -ENOMEM.
 * @addrs: @n of them, 1..RESOLVE_ADDRS_MAX on success; borrowed.
 */
typedef void (*resolve_cb)(void *arg, int error, const struct cv_addr *addrs, size_t n);

/** resolve_error() - what one of c-ares' status numbers means. Return: as @error of resolve_cb;
 * -ECANCELED where nobody wants the answer any more. */
int resolve_error(int status);
/** resolve_new() - ask for @name, copied; an address as text is its own answer. Return: 0;
 * -ENOMEM. */
_must_check_ int resolve_new(struct loop *loop, const char *name, resolve_cb cb, void *arg,
			     struct resolve **ret);
/** resolve_free() - forget it: no callback. Takes NULL. Return: NULL. */
struct resolve *resolve_free(struct resolve *q);
DEFINE_CLEANUP(struct resolve *, resolve_free);

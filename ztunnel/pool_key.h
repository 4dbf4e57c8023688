/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pool_key - which connections may share a tunnel, and who may answer in it. */
#include <stddef.h>

#include "base/macros.h"

struct buf;
struct pool_want;

/** pool_key_make() - source pod, source identity, destination and everybody who may answer there;
 * replaces what is in @b. Return: 0; -ENOMEM; -ENOBUFS over the buffer's limit. */
_must_check_ int pool_key_make(struct buf *b, const struct pool_want *want);

/* The workload's own, and some that its service says. */
#define POOL_IDENTITIES_MAX 64

/** pool_identities() - who may answer there. Of the service's names only those that are identities:
 * others are for the applications' own TLS. @ids: borrowed from @want. Return: how many. */
size_t pool_identities(const struct pool_want *want, const char *ids[POOL_IDENTITIES_MAX]);

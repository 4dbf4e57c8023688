/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* shares - how much of something that runs out each address has, so that whoever has most gives way
 * to others. Owner: its creator. One thread. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"

struct shares; /* opaque */

/** struct share - of one address; there while it has any. */
struct share {
	struct cv_addr addr;
	size_t n;
};

_must_check_ int shares_new(struct shares **ret);
/** shares_free() - Takes NULL. Return: NULL. */
struct shares *shares_free(struct shares *s);
DEFINE_CLEANUP(struct shares *, shares_free);

/** shares_take() - one more for @addr. Return: its share, until as many were given back; NULL: out
 * of memory. */
struct share *shares_take(struct shares *s, const struct cv_addr *addr);
void shares_give_back(struct shares *s, struct share *share);
/** shares_of() - Return: how many @addr has. */
size_t shares_of(const struct shares *s, const struct cv_addr *addr);
/** shares_most() - Return: the largest; NULL: nobody has any. */
struct share *shares_most(const struct shares *s);
/** shares_must_yield() - has @most so many that it has no fewer than @n, another's, when one of
 * them goes over? */
bool shares_must_yield(const struct share *most, size_t n);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* versions - which version of which resource is held, without the names: twelve bytes a slot. Names
 * are told apart by 32 bits of their hash. Where two fall together one of them is reported with the
 * other's version, or with none, and so is sent once more: never taken for what it is not. Owner:
 * xds/client. One thread. */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define VERSION_TEXT_SIZE 17

struct versions_slot; /* opaque */

/** struct versions - zeroes are an empty one. */
struct versions {
	struct versions_slot *slots;
	size_t n_slots; /* power of two, or 0 */
	size_t count;
};

void versions_clear(struct versions *v);

/** versions_set() - @name is held as @version. One that is not 16 hexadecimal digits (lower case)
 * is not kept: versions_get() says "". Return: 0; -ENOMEM (nothing is known of @name then). */
_must_check_ int versions_set(struct versions *v, const char *name, const char *version);

/** versions_del() - harmless when there is none. */
void versions_del(struct versions *v, const char *name);

/** versions_get() - @ret: the version; "" when none was kept. Return: 0; -ENOENT unknown, @ret is
 * "". */
int versions_get(const struct versions *v, const char *name, char ret[VERSION_TEXT_SIZE]);

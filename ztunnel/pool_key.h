/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pool_key - which connections may share a tunnel. */
#include "base/macros.h"

struct buf;
struct pool_want;

/** pool_key_make() - source pod, source identity, destination and everybody who may answer there;
 * replaces what is in @b. Return: 0; -ENOMEM; -ENOBUFS over the buffer's limit. */
_must_check_ int pool_key_make(struct buf *b, const struct pool_want *want);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* netns_find - a network namespace of which only the cookie is known. */
#include <stdint.h>

#include "base/macros.h"
#include "netns.h"

/**
 * netns_find() - look for it in the node's processes and in /run/netns
 * Not for often: it enters each namespace once.
 * @ret_fd: owned by the caller.
 * Return: 0; -ENOENT it is in neither, or there is none any more.
 */
_must_check_ int netns_find(const struct netns_home *home, uint64_t cookie, int *ret_fd);

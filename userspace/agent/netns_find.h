/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* netns_find - a network namespace of which only the cookie is known. */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "netns.h"

#define NETNS_PATH_MAX 300

/**
 * netns_find() - look for it in the node's processes and in /run/netns
 * Not for often: it enters each namespace once.
 * @ret_fd: owned by the caller.
 * Return: 0; -ENOENT it is in neither, or there is none any more; -EMFILE not all could be looked
 * at.
 */
_must_check_ int netns_find(const struct netns_home *home, uint64_t cookie, int *ret_fd);

/**
 * netns_find_path() - by what is a namespace held: a process of the node, or a name in /run/netns?
 * Looks through all processes, but enters none of their namespaces.
 * @file: of one that the caller has open, so that its number is no other's.
 * Return: whether there is any; where not all could be looked at there is, and @ret is "".
 */
bool netns_find_path(const struct netns_file *file, char ret[NETNS_PATH_MAX]);

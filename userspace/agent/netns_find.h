/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* netns_find - network namespaces of which only the cookie is known, and who holds such as are
 * open. */
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "netns.h"

#define NETNS_PATH_MAX 300

/** struct netns_sought - one that is looked for. */
struct netns_sought {
	uint64_t cookie;        /* where it is all that is known */
	int fd;                 /* the caller's; -EBADF: none yet */
	struct netns_file file; /* of what the caller has open, so that its number is no other's */
	bool has_file;
	bool is_found;             /* now: something holds it */
	char path[NETNS_PATH_MAX]; /* that; "": nothing */
};

/**
 * netns_find_all() - look for them in the node's processes and in /run/netns, all in one walk
 * It enters each namespace once, as long as it looks for one of which it knows but the cookie.
 * @all: no two of one namespace. What is found gets its path, and its file if it had none.
 * Return: 0; -EMFILE, -ENOMEM not all could be looked at.
 */
_must_check_ int netns_find_all(const struct netns_home *home, struct netns_sought *const *all,
				size_t n);

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

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* drop - give up root. No state. Call before any thread is started: capabilities and ids are per
 * thread. */
#include <stddef.h>
#include <sys/types.h>

#include "macros.h"

/** struct user - a system user and its primary group. */
struct user {
	uid_t uid;
	gid_t gid;
};

/** user_lookup() - find a system user by name. Return: 0; -ENOENT no such user; -errno. */
_must_check_ int user_lookup(const char *name, struct user *ret);

/**
 * drop_to_user() - become @name for good: ids, groups and capabilities, no new privileges.
 * @name:      user to become; NULL: stay the same user and only give capabilities up.
 * @keep_caps: capabilities that stay permitted and effective (CAP_NET_ADMIN, ...); NULL when @n is
 * 0.
 * @n:         how many.
 * Children get nothing: the inheritable and ambient sets are cleared, the bounding set holds only
 * @keep_caps. Return: 0; -ENOENT no such user; -EPERM not root or the kernel refused.
 */
_must_check_ int drop_to_user(const char *name, const int *keep_caps, size_t n);

/** mkdir_for_user() - make @path (and its parents, 0755) owned by @name, mode @mode. Return: 0;
 * -ENOENT; -errno. */
_must_check_ int mkdir_for_user(const char *path, unsigned int mode, const char *name);

/** memory_protect() - of a process that holds secrets: no core file, and nobody of our user may
 * read it. */
void memory_protect(void);

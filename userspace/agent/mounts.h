/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* mounts - where the pseudo file systems are that the agent needs. No state. */
#include "base/macros.h"

/**
 * mounts_find() - the mount point of the first file system of a type that shows its root.
 * @mountinfo: text of /proc/self/mountinfo; borrowed.
 * @fstype:    "cgroup2", "bpf".
 * @ret:       path, caller frees; set only on success.
 * Return: 0; -ENOENT none; -ENOMEM.
 */
_must_check_ int mounts_find(const char *mountinfo, const char *fstype, char **ret);

/** mounts_find_cgroup2() - the cgroup v2 root of this process's mount namespace; caller frees @ret.
 * Return: 0; -ENOENT not mounted; -errno. */
_must_check_ int mounts_find_cgroup2(char **ret);

/**
 * mounts_ensure_bpffs() - make @dir a folder on a bpffs. /sys/fs/bpf is mounted if it is not yet;
 * any other place must already be one.
 * Return: 0; -EMEDIUMTYPE @dir is not on a bpffs; -errno of mount(2), mkdir(2).
 */
_must_check_ int mounts_ensure_bpffs(const char *dir);

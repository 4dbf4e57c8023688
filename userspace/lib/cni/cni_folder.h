/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cni_folder - the files of a node's network configuration, and culvert-cni taken out of them. No
 * state; blocks on the disk. */
#include <dirent.h>

#include <jansson.h>

#include "base/macros.h"
#include "cni/cni_conf.h"

/** struct cni_dirs - the node's folders, as the caller sees them. Borrowed. */
struct cni_dirs {
	const char *bin;  /* of plugins: /opt/cni/bin */
	const char *conf; /* of configurations: /etc/cni/net.d */
};

/** cni_folder_list() - the names in @conf that containerd and CRI-O read, in their order: the first
 * that can be read counts. @ret: for cni_folder_free(). Return: how many; -errno. */
_must_check_ int cni_folder_list(const char *conf, struct dirent ***ret);
/** cni_folder_free() - Takes NULL with @n <= 0. */
void cni_folder_free(struct dirent **names, int n);

/**
 * cni_folder_change() - the file @path with @entry as its last plugin, or with NULL without ours
 * @entry: borrowed.
 * @ret_error: static; what was expected, on -EINVAL only. May be NULL.
 * Return: 1 written; 0 it is so already; -EINVAL it is no configuration; -ELOOP no regular file;
 * -ENOMEM; -errno of reading and writing.
 */
_must_check_ int cni_folder_change(const char *path, json_t *entry, const char **ret_error);

/**
 * cni_folder_leave() - take the plugin out of every configuration, then the program away, unless it
 * is in one still: a runtime that finds it in its configuration, but not in its folder, starts no
 * pod
 * @told: called for each file that was changed, with 0, or could not be, with -errno; @path is
 * borrowed.
 * Return: 0; the first -errno.
 */
_must_check_ int cni_folder_leave(const struct cni_dirs *dirs,
				  void (*told)(void *arg, const char *path, int error), void *arg);

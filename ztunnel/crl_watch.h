/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* crl_watch - a file of revocation lists, followed. Its folder is what is watched, because a file
 * that is replaced, or that a ConfigMap volume's symlink points to, is another one each time. A
 * file that is gone or cannot be read changes nothing: what was revoked stays revoked. Thread: the
 * main loop. */
#include "base/cleanup.h"
#include "base/macros.h"

struct crl_watch; /* opaque */
struct loop;
struct tls_crl;

/**
 * crl_watch_new() - read the file and follow it
 * @path: copied; the folder must exist, the file need not yet. NULL: there are no lists.
 * @on_change: after other lists have been loaded, not for the first.
 * Return: 0; -ENOENT no such folder (told); -errno of inotify; -ENOMEM.
 */
_must_check_ int crl_watch_new(struct loop *l, const char *path, void (*on_change)(void *arg),
			       void *arg, struct crl_watch **ret);
/** crl_watch_free() - after every connection that uses its lists. Takes NULL. Return: NULL. */
struct crl_watch *crl_watch_free(struct crl_watch *w);
DEFINE_CLEANUP(struct crl_watch *, crl_watch_free);
/** crl_watch_lists() - for tls_crl_use(); borrowed. Return: NULL for @w NULL or without a path. */
struct tls_crl *crl_watch_lists(const struct crl_watch *w);

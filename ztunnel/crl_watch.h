/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* crl_watch - a file of revocation lists, followed. A file that is gone or cannot be read changes
 * nothing: what was revoked stays revoked. Thread: the main loop. */
#include "base/cleanup.h"
#include "base/macros.h"

struct crl_watch; /* opaque */
struct loop;
struct tls_trust;

struct crl_watch_config {
	struct loop *loop;            /* borrowed */
	const char *path;             /* copied; its folder must exist, the file need not yet */
	struct tls_trust *trust;      /* borrowed: the lists go there */
	void (*on_change)(void *arg); /* after other lists, not for the first; NULL: not wanted */
	void *arg;
};

/** crl_watch_new() - read the file and follow it. Return: 0; -ENOENT no such folder (told); -errno
 * of inotify; -ENOMEM. */
_must_check_ int crl_watch_new(const struct crl_watch_config *config, struct crl_watch **ret);
/** crl_watch_free() - takes NULL. Return: NULL. */
struct crl_watch *crl_watch_free(struct crl_watch *w);
DEFINE_CLEANUP(struct crl_watch *, crl_watch_free);

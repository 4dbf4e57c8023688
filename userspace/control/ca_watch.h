/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ca_watch - follows the folder of the CA: other roots or another signer are taken over while it
 * runs. What does not fit together yet leaves what is there in force. Thread: the loop's. */
#include "base/cleanup.h"
#include "base/loop.h"
#include "ca.h"

struct ca_watch; /* opaque */

struct ca_watch_config {
	struct loop *loop;   /* borrowed */
	const char *dir;     /* copied */
	const struct ca *ca; /* in force; borrowed until on_change() */
	/** on_change() - @ca is the taker's; the one before may be freed. */
	void (*on_change)(void *arg, struct ca *ca);
	void *arg;
};

/** ca_watch_new() - Return: 0; -errno of inotify; -ENOMEM. */
_must_check_ int ca_watch_new(const struct ca_watch_config *config, struct ca_watch **ret);
struct ca_watch *ca_watch_free(struct ca_watch *w);
DEFINE_CLEANUP(struct ca_watch *, ca_watch_free);

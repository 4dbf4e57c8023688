/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cacerts - Secret cacerts that comes while we sign with a CA of our own making. Which of the two
 * signs is decided at the start: taken over at once, a node that does not trust its root yet would
 * refuse those that have a certificate of it. So it must be said that it waits. Owner: main.
 * Thread: its loop. */
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "source/source.h"

struct cacerts; /* opaque */

struct cacerts_config {
	struct loop *loop;      /* borrowed */
	const char *folder;     /* where it is mounted when there is one; must exist; copied */
	const char *namespace_; /* of the Secret; borrowed */
	/** on_change() - it waits (from cacerts_new() on: it does not), or has gone again. @err:
	 * says so, and what to do; borrowed for the call. */
	void (*on_change)(void *arg, const struct source_error *err, bool is_waiting);
	void *arg;
};

/** cacerts_new() - on_change may come at once. Return: 0; -ENOENT no folder; -errno of inotify;
 * -ENOMEM. */
_must_check_ int cacerts_new(const struct cacerts_config *config, struct cacerts **ret);
struct cacerts *cacerts_free(struct cacerts *c);
DEFINE_CLEANUP(struct cacerts *, cacerts_free);

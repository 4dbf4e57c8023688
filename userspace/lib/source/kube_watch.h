/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_watch - one kind of an API server, listed and then watched for ever: pages, resource
 * versions, bookmarks, 410 Gone, cuts, silence. Says what is there, not what it means. Owner:
 * kube.c. */
#include <stdbool.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "source/kube_client.h"

struct kube_watch; /* opaque */

/** struct kube_watch_ops - all in the loop, never inside kube_watch_new(). */
struct kube_watch_ops {
	/* a list begins anew: what it does not name is gone once on_list_end() comes */
	void (*on_list_begin)(void *arg);
	/* there, new or changed; @object borrowed. Return: 0; -ENOMEM starts over. */
	int (*on_object)(void *arg, json_t *object);
	void (*on_deleted)(void *arg, json_t *object);
	void (*on_list_end)(void *arg);
	/* Once, and again when the trouble is another one. @message: a sentence; NULL: it works
	 * again. What is known stays. */
	void (*on_trouble)(void *arg, const char *message);
	/* NULL, or: changes are heard of as they come (a watch is open, or the server has no such
	 * kind), or no longer. May say the same again. */
	void (*on_current)(void *arg, bool is_current);
};

struct kube_watch_config {
	const char *kind;           /* "Pod"; static; NULL: any */
	struct loop *loop;          /* borrowed */
	struct kube_client *client; /* borrowed */
	const char *path;           /* "/api/v1/pods"; copied */
	/* NULL, or NULL-ended, static: "GROUP/VERSION" of what @path, "/apis/GROUP/VERSION/PLURAL",
	 * may be read as. The first that the server has is taken, and kept while it has it. One
	 * that it has none of is empty; NULL: that it has none is trouble. */
	const char *const *versions;
	const char *selector; /* "fieldSelector=spec.nodeName%3Dn1", or ""; copied */
	/* of objects nothing but metadata is wanted: spec and status stay away where the server
	 * can leave them out */
	bool is_metadata_only;
	const struct kube_watch_ops *ops;
	void *arg;
};

_must_check_ int kube_watch_new(const struct kube_watch_config *config, struct kube_watch **ret);
/** kube_watch_version() - of its `versions`: that of what is told now. NULL: it has none. */
const char *kube_watch_version(const struct kube_watch *w);
/** kube_watch_is_refused() - is nothing heard because the API server says that we may not (403)? */
bool kube_watch_is_refused(const struct kube_watch *w);
/** kube_watch_free() - before its client, not inside a callback. Takes NULL. Return: NULL. */
struct kube_watch *kube_watch_free(struct kube_watch *w);
DEFINE_CLEANUP(struct kube_watch *, kube_watch_free);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* source - where Kubernetes objects come from: a folder of YAML manifests or an API server's
 * watch, one interface. Owner: its creator. Thread: the loop's only; every callback runs in
 * the loop, none inside source_*_new(). A source delivers each object once and then its changes; of
 * one batch, Namespaces and Nodes come before what is in them. What is wrong is reported and leaves
 * the last good state of that object, and all other objects, as they are. */
#include "base/loop.h"
#include "source/object.h"

struct source;      /* opaque */
struct kube_client; /* source/kube_client.h */

/** struct source_error - one thing that is wrong with one field. Strings are never NULL ("" when
 * unknown), borrowed for the call. */
struct source_error {
	const char *file;
	unsigned int line; /* from 1; 0 when unknown */
	const char *kind, *namespace_, *name;
	const char *field;   /* "spec.ports[0].port"; "" when it is the object or file as a whole */
	const char *message; /* what was expected, without file and field */
	bool is_warning;     /* the object is used all the same */
	int64_t generation;  /* of the object that it is about; 0: unknown */
	/* in what could not be read an AuthorizationPolicy or PeerAuthentication may stand, or one
	 * does, and it is not known where it holds; said once of each file */
	bool hides_policy;
};

/** struct source_ops - what the user of a source hears. Objects and errors are borrowed;
 * object_ref() to keep one. */
struct source_ops {
	/* new or changed */
	void (*on_put)(void *arg, struct object *obj);
	/* gone; @obj is the state that on_put() gave last */
	void (*on_delete)(void *arg, struct object *obj);
	void (*on_error)(void *arg, const struct source_error *err);
	/* forget all errors reported for @file; those that remain are reported again right after */
	void (*on_error_cleared)(void *arg, const char *file);
	/* a consistent point: after the first scan, and again after each later batch of changes.
	 * While a kind of an API server's is cut off and not listed anew it is waited for, ten
	 * seconds at most. */
	void (*on_synced)(void *arg);
	/* NULL, or: since @since_us (monotonic) changes of @kind have not been heard of, for longer
	 * than is waited for them; consistent points that come now lack them. @kind NULL: that is
	 * over, all was listed anew and on_synced() has come. A folder says neither. @is_refused:
	 * of no kind for another reason than that we have not the right to (403), as have not
	 * others of our account; said again when that becomes another. */
	void (*on_stale)(void *arg, const char *kind, uint64_t since_us, bool is_refused);
	/* NULL, or: one was read, is in order and will be kept; to object_reduce() it. Return: 0;
	 * -ENOMEM. */
	int (*on_read)(void *arg, struct object *obj);
	/* NULL, or: may this text of a file hold what the user looks for? If not, it is not read.
	 */
	bool (*may_hold)(void *arg, const char *text, size_t len);
};

/**
 * source_folder_new() - read a folder of manifests and follow its changes
 * @loop: borrowed, must outlive the source.
 * @dir:  copied. Files *.yaml, *.yml and *.json in it and in its sub-folders, ten deep, 1000
 * of them, not hidden ones, are read, in path order; where there is more, an error says so and
 * hides policies. Of two objects with one name the first in that order counts, the other is an
 * error.
 * @ops:  borrowed, must outlive the source; every other member set.
 * Return: 0; -errno of opening @dir or of inotify (ENOENT, ENOTDIR, EACCES, EMFILE); -ENOMEM.
 */
_must_check_ int source_folder_new(struct loop *loop, const char *dir, const struct source_ops *ops,
				   void *arg, struct source **ret);

/** struct source_kube_config - what to watch. */
struct source_kube_config {
	struct loop *loop;            /* borrowed, must outlive the source */
	struct kube_client *client;   /* borrowed, must outlive the source */
	const char *const *kinds;     /* NULL-ended; of source_kube_kinds() */
	const char *node;             /* Pods of this node only; NULL: all. Copied. */
	const char *config_namespace; /* ConfigMaps: only one, of this namespace. Copied. */
	const char *config_name;      /* its name; NULL: "istio". Copied. */
};

/**
 * source_kube_new() - list and watch an API server
 * Kinds of Istio's that the server does not know count as empty until it does; they are read in the
 * newest version that it has of those that we read. A 404 for one of Kubernetes' own is trouble. An
 * object's `file` is its path at the API server; what is wrong with a whole kind is reported under
 * the kind's path.
 * @ops: borrowed, must outlive the source; every other member set.
 * Return: 0; -EINVAL an unknown kind; -ENOMEM.
 */
_must_check_ int source_kube_new(const struct source_kube_config *config,
				 const struct source_ops *ops, void *arg, struct source **ret);

/** source_kube_kinds() - all kinds that the mesh can read, NULL-ended; static. */
const char *const *source_kube_kinds(void);

/** source_free() - stop; no callbacks. Takes NULL. Return: NULL. */
struct source *source_free(struct source *s);
DEFINE_CLEANUP(struct source *, source_free);

/**
 * source_error_format() - "file:line: Kind namespace/name: field: message", without the parts that
 * are unknown Return: the length, cut at @size as snprintf().
 */
int source_error_format(const struct source_error *err, char *buf, size_t size);

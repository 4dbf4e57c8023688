/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* objects - from Pods and Namespaces of the source to the pods that this node enrols. Owner: agent.
 * Thread: loop only. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "netns.h"
#include "podspec.h"
#include "source/source.h"

struct objects; /* opaque */
struct enrolment_context;

struct objects_config {
	struct loop *loop;      /* borrowed */
	const char *config_dir; /* borrowed for the call; NULL: an API server */
	const char *kubeconfig; /* borrowed for the call; as kube_client_open() */
	const char *node;       /* only pods with this spec.nodeName; copied */
	/* to look into pods' namespaces; borrowed; NULL with a folder */
	const struct enrolment_context *enrolment;
	void (*on_pod)(void *arg,
		       struct podspec *spec); /* in the mesh, new or changed; @spec is given away */
	void (*on_pod_gone)(void *arg, const char *key); /* not, or no longer; may be unknown */
	/* It was in the mesh, and its object is gone from the API server, or says that it has
	 * ended; processes of it may live. @left_key: its name from now on, for on_pod_gone(), too:
	 * called when its namespace is taken out of the mesh. NULL with a folder, which never calls
	 * it. */
	void (*on_pod_left)(void *arg, const char *key, const char *left_key);
	/* Is anything left of it? NULL with a folder. */
	bool (*is_left)(void *arg, const char *left_key);
	void (*on_synced)(void *arg);
	void (*on_changed)(void *arg); /* a Pod of this node, or a Namespace; may be NULL */
	/* a pod that is to be in the mesh, or an annotation of it, cannot be understood; may be
	 * NULL */
	void (*on_problem)(void *arg, const char *key, const char *message);
	void *arg;
};

/** struct objects_sandbox - a pod's network namespace, as the container runtime tells of it. */
struct objects_sandbox {
	const char *key; /* "namespace/name"; borrowed, like all here */
	const char *uid; /* ""; not told */
	const char *container;
	int netns_fd;
};

/** objects_new() - read and follow the folder or the API server. Return: 0; -errno of
 * source_folder_new(), kube_client_open(). */
_must_check_ int objects_new(const struct objects_config *config, struct objects **ret);
/** objects_free() - takes NULL. Return: NULL. */
struct objects *objects_free(struct objects *o);
DEFINE_CLEANUP(struct objects *, objects_free);

/** objects_is_released() - does label culvert.io/mesh=released of Namespace istio-system say that
 * the mesh is being uninstalled? No pod is in the mesh then. Takes NULL. */
bool objects_is_released(const struct objects *o);
/** objects_release() - no pod is in the mesh from now on, whatever is said of it. Takes NULL. */
void objects_release(struct objects *o);
/** objects_is_ending() - is Namespace istio-system being deleted? Nothing can be made in it from
 * then on, and nobody can take that back; yet while something holds it up, pods stay where they
 * are. Takes NULL. */
bool objects_is_ending(const struct objects *o);

/**
 * objects_sandbox_add() - a pod's namespace is there, its processes are not: if it is to be in the
 * mesh, on_pod() is called. May be asked again and again.
 * @why: a sentence, on failure.
 * Return: 1 it is to be in the mesh; 0 it is not; -EAGAIN that is not known yet; -EINVAL it is to
 * be, but its object cannot be understood; -errno.
 */
_must_check_ int objects_sandbox_add(struct objects *o, const struct objects_sandbox *sandbox,
				     char *why, size_t why_size);
/** objects_sandbox_del() - the runtime takes a sandbox down. Return: whether it was the pod's last
 * one: then its processes have ended, and the pod is the caller's to release. */
bool objects_sandbox_del(struct objects *o, const struct objects_sandbox *sandbox);

/** objects_left_of() - the key of the pod that has left and had this sandbox; NULL: none. Borrowed,
 * for the moment. */
const char *objects_left_of(struct objects *o, const struct objects_sandbox *sandbox);

/** objects_kube() - the client of the API server, borrowed; NULL with a folder. */
struct kube_client *objects_kube(const struct objects *o);
/** objects_pod() - a Pod of this node, borrowed; NULL: none of that name. */
const struct object *objects_pod(const struct objects *o, const char *key);
/** objects_for_each_pod() - @fn for each Pod of this node, in no order. */
void objects_for_each_pod(const struct objects *o,
			  void (*fn)(void *arg, const char *key, const struct object *pod),
			  void *arg);
/** objects_awaits() - is there a pod that is to be in the mesh, but whose namespace is not found
 * yet, whose "namespace/name" begins with these @len bytes? */
bool objects_awaits(const struct objects *o, const char *name, size_t len);
/**
 * objects_is_outside() - a network namespace is captured, but of no pod that is to be in the mesh:
 * is that known to be right? With an API server an object may go before its processes do, and
 * nobody tells of it to an agent that starts later: then they are to stay where they were.
 * @name, @len: as objects_awaits(). @file: of the namespace.
 */
bool objects_is_outside(const struct objects *o, const char *name, size_t len,
			const struct netns_file *file);
/**
 * objects_elsewhere() - the network namespace of a pod's oldest process is not the pod's: one of a
 * sandbox before this one, or one that the process has made. @fn for those of all its processes,
 * by path, until it says yes. Return: did it? Not for often.
 */
bool objects_elsewhere(const struct objects *o, const char *key,
		       bool (*fn)(void *arg, const char *netns), void *arg);
/** objects_is_enrolled() - is it to be in the mesh, as far as its object is known? */
bool objects_is_enrolled(const struct objects *o, const char *key);
/** objects_outside() - the namespaces that neither are in the mesh nor have a pod here that is, a
 * line each; malloc'ed; NULL: out of memory. */
char *objects_outside(const struct objects *o);

/** objects_trouble() - why Pods or Namespaces of the API server are not heard of, what was known
 * stays in force; or that a label keeps all pods out of the mesh. One line, borrowed until the
 * loop's next turn; NULL: neither, or @o is. */
const char *objects_trouble(const struct objects *o);

/** objects_for_each_error() - what is wrong with this node's pods, one line each. */
void objects_for_each_error(const struct objects *o,
			    void (*fn)(void *arg, const char *line, bool is_warning), void *arg);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* discovery - MeshConfig's discoverySelectors: which namespaces the mesh is made of. Stands between
 * the source and the model; keeps every object, so that a namespace can come and go as labels and
 * selectors change. Owner: control. Thread: loop only. */
#include <stdbool.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "source/object.h"

struct discovery; /* opaque */

/** struct discovery_ops - what is to be seen, and no longer. Failures are the callee's to log. */
struct discovery_ops {
	void (*on_put)(void *arg, struct object *obj);
	void (*on_delete)(void *arg, const struct object *obj);
};

/** discovery_new() - all is seen. @always, @root: namespaces that always are: where the mesh is
 * installed, where its policies are; copied. Return: 0; -ENOMEM. */
_must_check_ int discovery_new(const struct discovery_ops *ops, void *arg, const char *always,
			       const char *root, struct discovery **ret);
struct discovery *discovery_free(struct discovery *d);
DEFINE_CLEANUP(struct discovery *, discovery_free);

/** discovery_put() - an object is new or changed. Return: 1 new; 0 known; -ENOMEM: told all the
 * same, but not with a change of the selectors. */
int discovery_put(struct discovery *d, struct object *obj);
/** discovery_delete() - found by kind, namespace and name. Return: true when it was known. */
bool discovery_delete(struct discovery *d, const struct object *obj);

/** discovery_again() - tell of each object that is seen once more. */
void discovery_again(const struct discovery *d);

/** discovery_has_namespace() - is it one of the mesh's? */
bool discovery_has_namespace(const struct discovery *d, const char *name);

/** discovery_select() - @selectors: a list of Kubernetes' label selectors for namespaces, any of
 * which will do; NULL, or none: all. Counted. */
void discovery_select(struct discovery *d, json_t *selectors);

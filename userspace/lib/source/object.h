/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* object - one Kubernetes object as its user wrote it: a JSON tree, and the file and line of each
 * field. Immutable once handed out, reference-counted (plain counter: one thread). The tree of an
 * object from an API server has the same form, without file and lines. Where there are very many, a
 * Pod is reduced to what the mesh reads of it. */
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct pod_facts; /* source/pod_facts.h */
struct json_pool; /* source/json_pool.h */

struct object {
	const char *kind;       /* "Pod" */
	const char *namespace_; /* "" for cluster-scoped kinds; "default" where the manifest names
				   none */
	const char *name;
	json_t *body; /* the whole object, always a JSON object, do not change it; NULL once it is
			 reduced */
	const json_t *labels, *annotations; /* of its metadata; NULL: none */
	const struct pod_facts *pod;        /* of a reduced Pod; else NULL */
	const char *file;  /* path as given to the source; "" when it came from elsewhere */
	unsigned int line; /* first line of the object in @file, from 1; 0 when unknown */

	/* The object fails its schema and no earlier good state of it is known. Only security kinds
	 * (AuthorizationPolicy, PeerAuthentication) are ever delivered so: their consumer must
	 * deny. The types in @body are then not to be relied upon. */
	bool is_invalid;

	/* private */
	unsigned int _refs;
	json_t *_shared[2];   /* @labels and @annotations of a reduced object */
	unsigned int *_lines; /* of each node of @body, pre-order */
	size_t _lines_count;
};

/** struct object_init - what object_new() takes. */
struct object_init {
	const char *kind, *namespace_, *name, *file; /* copied; NULL namespace or file: "" */
	json_t *body;                                /* taken, also on failure */
	unsigned int *lines; /* malloc'ed, taken, also on failure; NULL: none known */
	size_t lines_count;
	unsigned int line;
	bool is_invalid;
};

/** object_new() - make an object with one reference. Return: 0; -EINVAL no kind, no name or @body
 * not a JSON object; -ENOMEM. */
_must_check_ int object_new(const struct object_init *init, struct object **ret);

/** object_node_count() - nodes of a tree, itself included: how many @lines it has. Trees are
 * bounded by their parser. */
size_t object_node_count(const json_t *v);

/** object_new_json() - make an object from a JSON tree alone (tests, API server): kind,
 * metadata.namespace and metadata.name are read from it. @body is taken, also on failure. Return:
 * as object_new(). */
_must_check_ int object_new_json(json_t *body, struct object **ret);

/** object_reduce() - leave of a Pod what the mesh reads: @pod, its labels and the annotations about
 * sidecars. Before it is handed out. Other kinds stay as they are. Return: 0; -ENOMEM (@o as it
 * was). */
_must_check_ int object_reduce(struct object *o, struct json_pool *pool);

/** object_is_same() - equal for their user: lines count, since messages name them. */
bool object_is_same(const struct object *a, const struct object *b);

/** object_ref() - one more reference. Return: @o. */
struct object *object_ref(const struct object *o);
/** object_unref() - drop a reference; takes NULL. Return: NULL. */
struct object *object_unref(struct object *o);
DEFINE_CLEANUP(struct object *, object_unref);

/**
 * object_value() - the value at a path
 * @path: "spec.ports[0].targetPort"; a key with dots goes in brackets:
 * "metadata.labels[app.kubernetes.io/name]". Return: borrowed, valid as long as @o; NULL when there
 * is none, it is null, or @o is reduced.
 */
json_t *object_value(const struct object *o, const char *path);
/** object_string() - as object_value(), but NULL also when it is no string. */
const char *object_string(const struct object *o, const char *path);
/** object_label(), object_annotation() - Return: the value, or NULL when absent. Takes a NULL @o.
 */
const char *object_label(const struct object *o, const char *key);
const char *object_annotation(const struct object *o, const char *key);
/** labels_match() - are all pairs of a selector's matchLabels (a Service's selector, a
 * nodeSelector) among these labels? As the API server reads them: a null is "". @wanted: NULL:
 * none. */
bool labels_match(const json_t *wanted, const json_t *labels);

/**
 * object_line() - the line of a field, for messages
 * @path: as object_value(). Where the field is missing, the line of the deepest part that exists is
 * given. Return: line from 1; 0 when unknown.
 */
unsigned int object_line(const struct object *o, const char *path);

/** object_lines() - a copy of the lines of the value at a path and all within it, for an object
 * made of it. @ret: the caller's to free; NULL with a count of 0 when they are unknown. Return: 0;
 * -ENOMEM. */
_must_check_ int object_lines(const struct object *o, const char *path, unsigned int **ret,
			      size_t *ret_count);

/** object_compare_age() - by creationTimestamp, those without one last. Return: < 0: @a is older; >
 * 0:
 * @b; 0: neither. */
int object_compare_age(const struct object *a, const struct object *b);
/** object_is_older() - of several that say something about one thing the oldest counts: by
 * age, then by place in the folder. */
bool object_is_older(const struct object *a, const struct object *b);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* analyze - what is wrong with the objects of a cluster, or of files, with istioctl's codes. The
 * checks look at objects and ask nothing. One thread. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "base/option.h"
#include "source/object.h"
#include "source/source.h"

/** struct analysis - what is looked at, and what was found. Zero it before use. */
struct analysis {
	struct object **objects; /* each a reference of ours */
	size_t count;
	struct map *places; /* "kind/namespace/name" -> 1 + index */
	json_t *findings;   /* a list of findings.h */
	json_t *unwanted;   /* origin -> codes, what objects themselves say; NULL: none does */
	const char *only;   /* what is said of other namespaces' objects is left out; NULL: nothing
			     */
	const char *file_namespace; /* of objects in files that name none; NULL: "default" */
	bool is_tolerant;           /* of documents that nobody reads */
	bool has_cluster;           /* objects are all that there are: references can be followed */
};

/** analysis_add() - take a reference; one of that kind, namespace and name is replaced. Return: 0;
 * -ENOMEM. */
_must_check_ int analysis_add(struct analysis *a, struct object *o);
/**
 * analysis_add_template() - add the Pod that @owner, of a file, would make, as "KIND/NAME": no Pod
 * can be called so, and nothing hides another. Line numbers are those of the template.
 * Return: 1; 0: it is of no kind that makes Pods; -ENOMEM.
 */
_must_check_ int analysis_add_template(struct analysis *a, const struct object *owner);
/**
 * analysis_take_path() - add the objects of a file, of a folder's .yaml, .yml and .json files, or
 * of stdin ("-").
 * @is_recursive: those of the folders in it, too; none whose name begins with a dot.
 * Return: 0; 1, said on stderr.
 */
_must_check_ int analysis_take_path(struct analysis *a, const char *path, bool is_recursive);
/** analysis_tell() - add what the mesh itself says of an object. */
void analysis_tell(struct analysis *a, const struct source_error *e);
/** analysis_run() - all checks. Return: 0; -ENOMEM. */
_must_check_ int analysis_run(struct analysis *a);
/** analysis_reset() - free what is in it. */
void analysis_reset(struct analysis *a);

/** struct analysis_name - of an object; borrowed. */
struct analysis_name {
	const char *kind, *namespace_, *name; /* the last two: "": none */
};

/** analysis_origin() - "Kind namespace/name" as users know it: a template's Pod is its owner. */
void analysis_origin(char *ret, size_t size, const struct analysis_name *n);
/** analysis_checks() - those that look at objects one by one. */
void analysis_checks(struct analysis *a);
/** analysis_find() - Return: borrowed; NULL: there is none. */
const struct object *analysis_find(const struct analysis *a, const char *kind, const char *ns,
				   const char *name);

/** suppress_note() - heed galley.istio.io/analyze-suppress of an object, in place of what one of
 * that name said before. Lack of memory leaves it out. */
void suppress_note(struct analysis *a, const struct analysis_name *name, const json_t *body);
/** suppress_is_noted() - has the object of @finding said so? */
bool suppress_is_noted(const struct analysis *a, const json_t *finding);
/** suppress_check() - is each value "CODE=OBJECT", or several with commas? Return: 0; -EINVAL, said
 * on stderr. */
_must_check_ int suppress_check(const struct option_list *values);
/** suppress_is_meant() - does one of the values name @finding? Its object as "Kind namespace/name"
 * or, as istioctl has it, "Kind name.namespace"; with wildcards as fnmatch(3). */
bool suppress_is_meant(const struct option_list *values, const json_t *finding);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* manifest - one file of YAML to checked objects and errors. Reads the text it is given and nothing
 * else: the folder keeps the files and what was good before. No state. */
#include <stdbool.h>
#include <stddef.h>

#include "source/object.h"
#include "source/source.h"

#define MANIFEST_SIZE_MAX   (8 << 20) /* bytes of a file */
#define MANIFEST_ERRORS_MAX 64        /* of a file; the first that hides a policy comes besides */
/* Behind the message of what may hide a policy. */
#define MANIFEST_HIDES "; policies in it stay as they were before, new ones are not in force"

/** struct manifest_item - one object of the file, in the file's order. */
struct manifest_item {
	const char *kind, *namespace_, *name;
	struct object *object; /* NULL: it fails its schema (the errors were given) and is of no
				  security kind */
};

/** struct manifest_ops - what comes out. Everything is borrowed for the call. */
struct manifest_ops {
	int (*on_item)(void *arg, const struct manifest_item *item);
	int (*on_error)(void *arg, const struct source_error *err);
	/* Each object before anything is said of it, of whichever kind and however wrong; NULL:
	 * not wanted. Return: 1: a kind that has no schema is known all the same, which is no
	 * error; 0; what ends the reading. */
	int (*on_object)(void *arg, const struct object *o);
};

/** struct manifest_text - what to read; borrowed. */
struct manifest_text {
	const char *file;       /* its path, for messages and for the objects */
	const char *namespace_; /* of objects that name none; NULL: "default" */
	const char *text;
	size_t len;
};

/**
 * manifest_parse() - read a file's text
 * @ret_is_complete: false when some object could not even be named: what the file held before may
 * still be meant. Return: 0 (errors included); what a callback returned if not 0; -ENOMEM.
 */
_must_check_ int manifest_parse(const struct manifest_text *in, const struct manifest_ops *ops,
				void *arg, bool *ret_is_complete);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* yaml - YAML text to JSON trees, one per document, with the line of every node. No state; bounded
 * in depth, nodes and aliases, so that no text costs more than it is long. Scalars are read as
 * Kubernetes reads them (YAML 1.1 without y/n). */
#include <stddef.h>

#include <jansson.h>

#include "base/macros.h"

#define YAML_DEPTH_MAX 64
#define YAML_NODES_MAX 1000000 /* of one text, aliases expanded */

/** struct yaml_document - one document that libyaml could read. */
struct yaml_document {
	json_t *body;        /* borrowed; json_incref() to keep */
	unsigned int line;   /* of its first node, from 1 */
	unsigned int *lines; /* of each node, pre-order; borrowed */
	size_t lines_count;
	unsigned int bad_line; /* of what cannot be used: a duplicate key, a tag, too deep ...; 0
				  when all is well */
	char problem[160];
};

/** struct yaml_problem - why the rest of the text could not be read. */
struct yaml_problem {
	unsigned int line;
	char message[160];
};

/**
 * yaml_parse() - call @fn for each document that is not empty, in order
 * @text: UTF-8 or UTF-16 with a mark, @len bytes.
 * @ret:  set only with -EBADMSG.
 * Return: 0; what @fn returned if not 0; -EBADMSG no YAML from some line on, the documents before
 * it were given; -ENOMEM.
 */
_must_check_ int yaml_parse(const char *text, size_t len,
			    int (*fn)(void *arg, const struct yaml_document *doc), void *arg,
			    struct yaml_problem *ret);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* problems - what is wrong with the configuration now. Each is logged once, when it appears,
 * however often its file is read again. Owner: control. One thread. Bounded: beyond 10,000 they are
 * logged but not kept, those that hide a policy apart: of each file there is one. */
#include <jansson.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "source/source.h"

struct problems; /* opaque */

enum problem_origin {
	PROBLEM_SOURCE, /* of a file: replaced as a whole when the file is read again */
	PROBLEM_MODEL,  /* of an object: replaced as a whole when the model looks at it again */
};

_must_check_ int problems_new(struct problems **ret);
struct problems *problems_free(struct problems *p);
DEFINE_CLEANUP(struct problems *, problems_free);

void problems_clear_file(struct problems *p, const char *file);
void problems_clear_object(struct problems *p, const char *kind, const char *namespace_,
			   const char *name);
/** problems_add() - copied; the same one that was cleared before the last settle is not logged
 * again. */
void problems_add(struct problems *p, enum problem_origin origin, const struct source_error *err);
/** problems_set() - the only one of its file, now: it holds, or no longer. */
void problems_set(struct problems *p, const struct source_error *err, bool is_there);
/** problems_settle() - a consistent point: forget what was cleared and did not come back. */
void problems_settle(struct problems *p);
/** problems_for_each() - all that hold; borrowed for the call. */
void problems_for_each(const struct problems *p,
		       void (*fn)(void *arg, const struct source_error *err), void *arg);
/** problems_await() - before anybody is served: is there one that hides a policy? Logs, once each,
 * that it is waited for. Return: 1 yes; 0; -ENOMEM: not known, and never will be. */
_must_check_ int problems_await(struct problems *p);
/** problems_count() - of those that hold: the warnings, or all others. */
size_t problems_count(const struct problems *p, bool is_warning);
/** problems_to_json() - array of objects; a new reference; NULL on lack of memory. */
json_t *problems_to_json(const struct problems *p);

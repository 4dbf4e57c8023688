/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* condition - what a resource's status says of it: one condition, as Kubernetes has them. No state,
 * no I/O. */
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <jansson.h>

#include "base/macros.h"

#define CONDITION_MESSAGE_MAX 1024
#define CONDITION_TIME_LEN    32

/** enum condition_verdict - what is made of a resource. */
enum condition_verdict {
	CONDITION_ACCEPTED,    /* in force as it is written */
	CONDITION_UNBOUND,     /* fine, but there is nothing that it is about */
	CONDITION_UNSUPPORTED, /* some of it is not honoured */
	CONDITION_INVALID,     /* not used, or denied */
	CONDITION_NOT_YET,     /* its kind does nothing yet */
};

/** struct condition - a verdict and why; zeroed: no condition. */
struct condition {
	bool is_there;
	enum condition_verdict verdict;
	int64_t generation; /* of the resource; 0: unknown */
	char message[CONDITION_MESSAGE_MAX];
	char since[40]; /* lastTransitionTime; not compared */
};

/** condition_type() - ours, of a kind. */
const char *condition_type(const char *kind);
/** condition_read() - ours among those of @object. What is not as we write it is none. */
void condition_read(const json_t *object, const char *kind, struct condition *ret);
/** condition_is_same() - is there nothing to write? */
bool condition_is_same(const struct condition *a, const struct condition *b);
/** condition_add() - one more sentence, cut where there is no more room. */
void condition_add(struct condition *c, const char *field, const char *message);
/**
 * condition_patch() - what to apply to the status
 * @now: RFC 3339; used where whether it is good changes. @before: what is there.
 * Return: a new reference; NULL on lack of memory.
 */
json_t *condition_patch(const struct condition *c, const struct condition *before, const char *kind,
			const char *now);
/** condition_time() - @t in RFC 3339, as conditions have it. */
void condition_time(time_t t, char ret[CONDITION_TIME_LEN]);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* findings - what precheck and analyze have to say, with istioctl's codes. A list of JSON objects:
 * {code, level, origin, reference, message}; their keys are never renamed. One thread. */
#include <jansson.h>
#include <stddef.h>

#include "base/macros.h"

enum finding_level { FINDING_INFO, FINDING_WARNING, FINDING_ERROR, FINDING_LEVELS };

/** struct finding - one; strings are borrowed. */
struct finding {
	enum finding_level level;
	const char *code;      /* "IST0102" */
	const char *origin;    /* "Namespace default" */
	const char *reference; /* "file:line"; NULL: none */
};

/** findings_add() - the message is formatted. Lack of memory leaves it out. */
void findings_add(json_t *list, const struct finding *f, const char *fmt, ...) _printf_(3, 4);
/** findings_count() - those of at least @level. */
size_t findings_count(const json_t *list, enum finding_level level);
/** findings_level() - "info", "warning", "error", in any case. Return: FINDING_LEVELS: none. */
enum finding_level findings_level(const char *word);
/** findings_sort() - errors first, then by origin and code; what is there twice goes. */
void findings_sort(json_t *list);
/** findings_print() - "Warning [IST0118] (Service a/b file:3) text", coloured on a terminal. */
void findings_print(const json_t *list);

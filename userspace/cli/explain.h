/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* explain - the answer of `culvert explain` as JSON, its one sentence and its picture. */
#include <jansson.h>

#include <stdint.h>

#include "base/macros.h"

/**
 * explain_conclude() - add `verdict` and `sentence` to an answer
 * @answer: of ztunnel's /explain; with `kernel` where it could be read: {path, name} or null.
 * verdict: allowed, denied, refused, depends (on the endpoint), outside (not the mesh's business),
 * unknown.
 * Return: 0; -ENOMEM.
 */
_must_check_ int explain_conclude(json_t *answer);

/** explain_print() - for people, at most 100 columns but for long names. Return: 0; -ENOMEM. */
_must_check_ int explain_print(const json_t *answer);

/** explain_kernel() - what the source's node has in its maps: {path, name}; null where they cannot
 * be read. @pins: folder. @cookie: the pod's network namespace. New reference. */
json_t *explain_kernel(const char *pins, uint64_t cookie, const json_t *answer);

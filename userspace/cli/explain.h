/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* explain - the answer of `culvert explain` as JSON, its one sentence and its picture. */
#include <jansson.h>

#include <stdbool.h>
#include <stdint.h>

#include "admin.h"
#include "base/macros.h"

/**
 * explain_conclude() - add `verdict`, `sentence` and `change` to an answer
 * @answer: of ztunnel's /explain; with `kernel` where it could be read: {path, name} or null, and
 * `notAsked`, what nobody could be asked for: a list of phrases, which the sentence repeats.
 * verdict: allowed, denied, refused, depends (on the endpoint), outside (not the mesh's business),
 * unknown.
 * Return: 0; -ENOMEM.
 */
_must_check_ int explain_conclude(json_t *answer);

/** explain_unjudged() - the sentence for an answer with one route of which nobody could say what
 * the policies make of it, for the reason @why. Caller frees. NULL: no memory. */
char *explain_unjudged(const json_t *answer, const char *why);

/** explain_changes() - what would change an answer, a sentence each. New reference; NULL: no
 * memory. */
json_t *explain_changes(const json_t *answer);

/** explain_of_interest() - the first of its routes that is denied, else the first; NULL: none.
 * Borrowed. */
const json_t *explain_of_interest(const json_t *answer);

/** explain_lacks_certificate() - is a route a tunnel that the source's ztunnel has no certificate
 * for?
 */
bool explain_lacks_certificate(const json_t *answer, const json_t *route);

/** explain_print() - for people, at most 100 columns but for long names. Return: 0; -ENOMEM. */
_must_check_ int explain_print(const json_t *answer);

/** explain_kernel() - what this machine's maps say of a connection: {path, name}; null where they
 * cannot be read. @pins: folder. @cookie: of the source's network namespace. @to: "IP:port". New
 * reference. */
json_t *explain_kernel(const char *pins, uint64_t cookie, const char *to);

/** explain_inbound_is_excluded() - does an annotation leave plaintext to this port of a pod to the
 * application? @pins: folder, on the pod's node. @target: "IP:port". @source: the "IP" that dials;
 * NULL: not known, and in no range. Return: 1, 0; -errno: the maps cannot be read. */
_must_check_ int explain_inbound_is_excluded(const char *pins, const char *target,
					     const char *source);

/** explain_node_kernel() - explain_kernel() at node @n, of this machine or of a cluster. Blocking.
 */
json_t *explain_node_kernel(const struct admin_node *n, const char *pins, uint64_t cookie,
			    const char *to);

/** explain_node_excludes() - explain_inbound_is_excluded() at node @n, likewise. */
_must_check_ int explain_node_excludes(const struct admin_node *n, const char *pins,
				       const char *target, const char *source);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* namespace_selector - Kubernetes' label selectors for namespaces, as MeshConfig has them. No
 * state.
 */
#include <stdbool.h>

#include <jansson.h>

#include "source/object.h"

/** namespace_selector_matches() - are its matchLabels and matchExpressions true of a namespace?
 * @selector: as the schema of MeshConfig has it; an empty one matches all.
 * @ns: the Namespace object; NULL: there is none, and its name is its only label.
 */
bool namespace_selector_matches(const json_t *selector, const struct object *ns, const char *name);
/** namespace_selector_is_sound() - would Kubernetes take it? Not In without values, nor Exists with
 * some. */
bool namespace_selector_is_sound(const json_t *selector);

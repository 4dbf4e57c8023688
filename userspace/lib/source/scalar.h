/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* scalar - what an unquoted YAML word means: null, a boolean, a number or a string. No state. */
#include <jansson.h>

/** scalar_resolve() - the JSON value of a plain scalar. Return: new reference; NULL on lack of
 * memory or when not UTF-8. */
json_t *scalar_resolve(const char *text);

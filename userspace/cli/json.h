/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* json - small helpers over jansson for what the daemons answer. Nothing here trusts the shape of a
 * document. */
#include <jansson.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/macros.h"

/** json_number() - the integer at @key, or 0. */
json_int_t json_number(const json_t *o, const char *key);
/** json_find() - the first object of @array with the string @value at @key. Borrowed; NULL: none.
 */
json_t *json_find(const json_t *array, const char *key, const char *value);
/** json_find_named() - the first object of @array with this "namespace" and "name". Borrowed; NULL:
 * none. */
json_t *json_find_named(const json_t *array, const char *ns, const char *name);
/** json_join() - strings of an array with @sep between; caller frees. NULL: out of memory. */
char *json_join(const json_t *array, const char *sep);
/** json_print_yaml() - block style, strings quoted where YAML needs it. */
void json_print_yaml(const json_t *v, FILE *f);
/** json_print() - @format "json" or "yaml" to stdout. */
void json_print(const json_t *v, const char *format);

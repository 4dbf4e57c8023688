/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_json - what an API server says, as a tree. No state. Whatever somebody may write into one
 * object is no reason to refuse a list of a whole kind. A string may hold NUL characters, which are
 * valid in JSON, and Kubernetes looks at few strings, such as an annotation's value, at all; but
 * all that reads a tree takes strings to end at a NUL, so a tree never has one. A field that may
 * hold anything may hold integers beyond 64 bits: all of its object are reals then; and more levels
 * than are ever read: below 64 all is empty then. */
#include <stddef.h>

#include <jansson.h>

/* Stands where a NUL stood: U+FDD0, which no text has, being set aside for use within programs. A
 * string that has it is no other string's equal, is no number, address or name, and does not end
 * early. */
#define KUBE_JSON_NUL "\xef\xb7\x90"

/** kube_json_load() - read @len bytes, an object or a list. Return: the caller's; NULL: no JSON, or
 * no memory. */
json_t *kube_json_load(const char *text, size_t len);

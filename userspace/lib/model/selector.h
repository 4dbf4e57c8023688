/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* selector - matchLabels, both ways: which pods does a selector match, which selectors match a pod.
 * For the files of this folder only; all is borrowed. */
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/index.h"

#define SELECTOR_KEY_MAX 1024

struct model;
struct pod;

/* Return: its length. */
size_t label_key(char buf[SELECTOR_KEY_MAX], const char *ns, const char *key, const char *value);
/* File @owner under one pair of @selector, or under "ns\n" when it is empty. */
_must_check_ int selector_file(struct index *ix, const char *ns, const json_t *selector,
			       void *owner, struct index_link *l);
/* @fn for each owner whose filing could match @labels; it still compares the whole selector. */
void selector_candidates(const struct index *ix, const char *ns, const json_t *labels,
			 void (*fn)(void *arg, void *owner), void *arg);
/* The same in several indexes, the last followed by NULL: a label's key is made once. */
void selector_candidates_all(const struct index *const *indexes, const char *ns,
			     const json_t *labels, void (*fn)(void *arg, void *owner), void *arg);
/* Call @fn for each pod of @ns that @selector matches; an empty selector matches all. fn's true
 * stops: then true. */
bool selector_pods(const struct model *m, const char *ns, const json_t *selector,
		   bool (*fn)(void *arg, struct pod *pod), void *arg);
/* The same; for the root namespace in all namespaces. */
bool selector_pods_scope(const struct model *m, const char *ns, const json_t *selector,
			 bool (*fn)(void *arg, struct pod *pod), void *arg);
void selector_mark(struct model *m, const char *ns, const json_t *selector, bool is_root_wide);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_prune - leave out of an API server's object what the mesh never reads: bookkeeping that
 * changes without meaning, and most of a Pod. No state. */
#include <jansson.h>

/** kube_prune() - change @body in place. @kind: "Pod", "Node" ... */
void kube_prune(const char *kind, json_t *body);

/** kube_prune_text() - the same for the largest parts, before a tree is made of them: lists and
 * objects under such keys become 0. @kind: NULL: any. @text: JSON of any shape. Return: malloc'ed,
 * @ret_len bytes; NULL: no memory. */
char *kube_prune_text(const char *kind, const char *text, size_t len, size_t *ret_len);

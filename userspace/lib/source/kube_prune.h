/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_prune - leave out of an API server's object what the mesh never reads: bookkeeping that
 * changes without meaning, and most of a Pod. No state. */
#include <jansson.h>

/** kube_prune() - change @body in place. @kind: "Pod", "Node" ... */
void kube_prune(const char *kind, json_t *body);

/** kube_prune_text() - the same for the text of one object, before a tree is made of it; what hangs
 * on other fields, and metadata.resourceVersion, is left to kube_prune(). @kind: NULL: any.
 * @text: of any shape; what is no JSON object comes back as it is. Return: malloc'ed, @ret_len
 * bytes; NULL: no memory. */
char *kube_prune_text(const char *kind, const char *text, size_t len, size_t *ret_len);

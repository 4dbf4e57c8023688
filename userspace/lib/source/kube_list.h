/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_list - one page of a list, taken apart as it comes: each item is pruned, parsed and told as
 * soon as it is whole, so that no page is ever held. Sans I/O; owner: its watch. Whatever the bytes
 * are, memory is bounded and nothing crashes. */
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/macros.h"

#define KUBE_ITEM_MAX (8u << 20)  /* bytes of an item; an API server's own limit is 3 MiB */
#define KUBE_REST_MAX (64u << 10) /* bytes of a page beside its items */

/** struct kube_list - zero it but @kind before use; kube_list_reset() at the end. */
struct kube_list {
	const char *kind; /* of the items, for kube_prune_text(); NULL: any */
	struct buf rest;  /* the page without its items */
	struct buf item;  /* what has come of one that is not whole yet */
	size_t depth;     /* brackets that are open */
	enum { KUBE_LIST_OUTSIDE, KUBE_LIST_BETWEEN, KUBE_LIST_ITEM } place;
	bool is_string, is_escaped;
};

/**
 * kube_list_feed() - take the next bytes
 * @on_item: a whole one; borrowed, always a JSON object. A result other than 0 stops.
 * Return: 0; what @on_item returned; -EBADMSG no JSON; -EMSGSIZE an item, or what is beside them,
 * is too long; -ENOMEM. After an error only kube_list_reset() may follow.
 */
_must_check_ int kube_list_feed(struct kube_list *l, const char *data, size_t len,
				int (*on_item)(void *arg, json_t *item), void *arg);
/** kube_list_end() - no more bytes. Return: the page without its items, the caller's; NULL: it was
 * no list, or not whole. */
json_t *kube_list_end(const struct kube_list *l);
/** kube_list_reset() - the kind stays. */
void kube_list_reset(struct kube_list *l);

/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/reflist.h"

#include <errno.h>
#include <stdlib.h>

static void *reflist_ref_value(void *l)
{
	return reflist_ref(l);
}

static void reflist_unref_value(void *l)
{
	reflist_unref(l);
}

const struct hamt_ops reflist_hamt_ops = {.ref = reflist_ref_value, .unref = reflist_unref_value};

struct reflist *reflist_ref(struct reflist *l)
{
	atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
	return l;
}

struct reflist *reflist_unref(struct reflist *l)
{
	if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (size_t i = 0; i < l->count; i++)
		l->ops->unref(l->items[i]);
	free(l);
	return NULL;
}

int reflist_change(const struct reflist *old, const struct reflist_edit *edit, struct reflist **ret)
{
	size_t n = old ? old->count : 0;
	struct reflist *l = malloc(sizeof(*l) + (n + 1) * sizeof(l->items[0]));
	size_t at;

	if (!l)
		return -ENOMEM;
	atomic_init(&l->refs, 1);
	l->ops = edit->ops;
	l->count = 0;
	for (size_t i = 0; i < n; i++)
		if (old->items[i] != edit->gone)
			l->items[l->count++] = edit->ops->ref(old->items[i]);
	if (edit->added) {
		for (at = l->count; at > 0 && edit->compare(l->items[at - 1], edit->added) > 0;
		     at--)
			l->items[at] = l->items[at - 1];
		l->items[at] = edit->ops->ref(edit->added);
		l->count++;
	}
	if (l->count == 0)
		l = reflist_unref(l);
	*ret = l;
	return 0;
}

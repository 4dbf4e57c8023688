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

int several_change(struct hamt *table, const void *key, size_t key_len,
		   const struct reflist_edit *edit)
{
	_cleanup_(reflist_unrefp) struct reflist *old = NULL, *l = NULL;
	void *value = hamt_get(table, key, key_len);
	struct reflist_edit alone = {.ops = edit->ops, .added = value, .compare = edit->compare};
	int r = 0;

	if (edit->added && (!value || value == edit->gone)) /* as nearly always: alone */
		return hamt_put(table, key, key_len, edit->added);
	if (several_of(value))
		old = reflist_ref(several_of(value));
	else if (value)
		r = reflist_change(NULL, &alone, &old);
	if (r == 0)
		r = reflist_change(old, edit, &l);
	if (r < 0)
		return r;
	if (l)
		return hamt_put(table, key, key_len,
				l->count == 1 ? l->items[0] : several_value(l));
	r = hamt_del(table, key, key_len);
	return r == -ENOENT ? 0 : r;
}

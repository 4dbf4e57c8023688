/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/sub.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "xds/held.h"

bool sub_is_behind(const struct sub *sub, const struct resources *store)
{
	return sub->is_open && (sub->is_first || !sub_is_up_to_date(sub, store) ||
				(sub->wanted && wanted_is_pending(sub->wanted)));
}

/* What the client held before it came back and is gone since. */
static int add_vanished(struct batch *b, const struct resources *store, struct sub *sub)
{
	map_for_each (sub->held, it) {
		const struct resource_entry *e = resources_get(store, it.key);
		int r;

		if (e && e->packed)
			continue;
		r = batch_remove(b, it.key);
		if (r < 0)
			return r;
		free(map_del_str(sub->held, it.key));
	}
	return 0;
}

/* A node's configuration is its own business. */
static bool is_for(const struct sub_source *from, const char *name)
{
	return from->type != XDS_NODE_CONFIG || streq(name, "*") || streq(name, from->node);
}

static int add_entry(struct batch *b, const struct sub *sub, const struct sub_source *from,
		     const struct resource_entry *e)
{
	_cleanup_(freep) char *version = sub->held ? map_del_str(sub->held, e->name) : NULL;

	if (!is_for(from, e->name))
		return 0;
	if (!e->packed) {
		/* in the first round only what the client said it has can be news to it, and what
		 * went since the round began: that may have been sent in an earlier part of it */
		return sub->held && !version && e->seq <= sub->open_seq ? 0
									: batch_remove(b, e->name);
	}
	if (!version || !streq(version, e->version))
		batch_add(b, from->type, e);
	return 0;
}

static int add_wanted(struct batch *b, struct sub *sub, const struct resource_entry *e)
{
	_cleanup_(freep) char *version = sub->held ? map_del_str(sub->held, e->name) : NULL;

	if (!e->packed)
		return batch_remove(b, e->name);
	if (version && streq(version, e->version))
		return 0;
	batch_add(b, XDS_ADDRESS, e);
	return batch_add_aliases(b, e);
}

/* What changed and the client wants, then what it is owed an answer to. */
static int fill_wanted(struct batch *b, struct sub *sub, struct resources *store,
		       const struct address_index *ix)
{
	struct resource_entry *e;
	struct wanted_answer answer;
	int r = 0;

	for (e = resources_after(store, sub->sent_seq); e; e = resources_next(store, e)) {
		if (batch_is_full(b))
			return 0;
		r = wanted_take(sub->wanted, ix, e);
		if (r > 0)
			r = add_wanted(b, sub, e);
		if (r < 0)
			return r;
		sub->sent_seq = e->seq;
	}
	sub->sent_seq = store->seq; /* what it lacks may be removals that are forgotten */
	while (!batch_is_full(b) && (r = wanted_next(sub->wanted, ix, store, &answer)) > 0) {
		r = answer.entry ? add_wanted(b, sub, answer.entry)
				 : batch_remove(b, answer.missing);
		if (r < 0)
			return r;
	}
	if (r == 0 && !wanted_is_pending(sub->wanted))
		held_free(&sub->held);
	return r;
}

int sub_fill(struct sub *sub, struct batch *b, const struct sub_source *from)
{
	struct resources *store = from->store;
	struct resource_entry *e;
	int r = 0;

	if (sub->is_first && sub->held)
		r = add_vanished(b, store, sub);
	if (r == 0 && sub->wanted)
		return fill_wanted(b, sub, store, from->index);
	for (e = resources_after(store, sub->sent_seq); r == 0 && e; e = resources_next(store, e)) {
		if (batch_is_full(b))
			return 0;
		r = add_entry(b, sub, from, e);
		if (r == 0)
			sub->sent_seq = e->seq;
	}
	if (r < 0)
		return r;
	sub->sent_seq = store->seq; /* as above */
	held_free(&sub->held);
	return 0;
}

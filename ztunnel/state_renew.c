/* SPDX-License-Identifier: Apache-2.0 */
/* state_renew - a builder instead of one in which a change ended in the middle. */
#include <errno.h>

#include "base/map.h"
#include "ztunnel/state_internal.h"

static int on_value(void *arg, const void *key, size_t key_len, void *value)
{
	return hamt_put(arg, key, key_len, value);
}

int state_builder_renew(struct state_builder **io)
{
	_cleanup_(state_builder_freep) struct state_builder *b = NULL;
	const struct state_builder *old = *io;
	int r = state_builder_new(old->node, &b);

	if (r == 0)
		r = hamt_visit(old->t.identities, on_value, b->t.identities);
	if (r == 0)
		r = hamt_visit(old->t.stand_ins, on_value, b->t.stand_ins);
	if (r < 0)
		return r;
	map_free(b->pods);
	b->pods = TAKE_PTR((*io)->pods);
	b->flags = old->flags;
	/* what it will be made of has been another in between */
	b->policy_generation = old->policy_generation + 1;
	state_builder_free(*io);
	*io = TAKE_PTR(b);
	return 0;
}

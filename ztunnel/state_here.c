/* SPDX-License-Identifier: Apache-2.0 */
/* state_here - which workloads are this node's, and so when verdicts may be others. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/map.h"
#include "ztunnel/looser.h"
#include "ztunnel/state_internal.h"

bool state_is_here(const struct state_builder *b, const struct workload *w)
{
	return (b->node[0] && streq(w->place->node, b->node)) || map_get_str(b->pods, w->uid);
}

bool state_is_judged_anew(const struct state_builder *b, const struct workload *old,
			  const struct workload *now)
{
	bool was_here = old && state_is_here(b, old);
	bool is_here = state_is_here(b, now);

	return was_here != is_here || (is_here && !workload_has_same_verdicts(old, now));
}

/* The values are how many pods there are, as numbers. */
int state_builder_add_pod(struct state_builder *b, const char *uid)
{
	void **at = map_at_str(b->pods, uid, NULL);

	if (!at)
		return -ENOMEM;
	*at = (void *)((uintptr_t)*at + 1);
	return 0;
}

void state_builder_del_pod(struct state_builder *b, const char *uid)
{
	void **at = map_get_str(b->pods, uid) ? map_at_str(b->pods, uid, NULL) : NULL;

	if (!at)
		return;
	*at = (void *)((uintptr_t)*at - 1);
	if (!*at)
		(void)map_del_str(b->pods, uid);
}

int state_addr_change(struct state_builder *b, const struct cv_addr *addr,
		      const struct reflist_edit *edit)
{
	void *there = hamt_get(b->t.addrs, addr, sizeof(*addr));
	struct workload *old = several_at(there, 0);
	const struct workload *now;
	int r;

	/* most come to an address that nobody has */
	if (!there && edit->added) {
		b->policy_generation += state_is_here(b, edit->added);
		return hamt_put(b->t.addrs, addr, sizeof(*addr), edit->added);
	}
	if (old)
		old = workload_ref(old);
	r = several_change(b->t.addrs, addr, sizeof(*addr), edit);
	now = several_at(hamt_get(b->t.addrs, addr, sizeof(*addr)), 0);
	if (!old || !now || !streq(old->uid, now->uid))
		b->policy_generation +=
			(old && state_is_here(b, old)) || (now && state_is_here(b, now));
	workload_unref(old);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/needs.h"

#include <errno.h>
#include <stdlib.h>

struct need {
	struct list link;
	uint32_t by;
	struct zds_sockets m;
};

void needs_init(struct needs *n)
{
	list_init(&n->list);
	n->count = 0;
}

int needs_add(struct needs *n, uint32_t by, const struct zds_sockets *m)
{
	struct need *need;

	if (n->count >= NEEDS_MAX)
		return -ENOSPC;
	need = calloc(1, sizeof(*need));
	if (!need)
		return -ENOMEM;
	need->by = by;
	need->m = *m;
	list_add_tail(&n->list, &need->link);
	n->count++;
	return 0;
}

static void need_free(struct needs *n, struct need *need)
{
	list_del(&need->link);
	n->count--;
	free(need);
}

bool needs_take(struct needs *n, const struct zds_sockets *m, uint32_t *ret_by)
{
	struct need *need;

	list_for_each_entry (need, &n->list, link) {
		if (need->m.netns_cookie != m->netns_cookie || need->m.kind != m->kind ||
		    need->m.family != m->family)
			continue;
		if (ret_by)
			*ret_by = need->by;
		need_free(n, need);
		return true;
	}
	return false;
}

/* refuse() - an error and no sockets. */
static void refuse(const struct needs_ops *ops, uint32_t by, const struct zds_sockets *m, int error)
{
	struct zds_sockets none = *m;

	if (by == NEED_BY_DNS)
		return;
	none.count = 0;
	none.error = (uint32_t)-error;
	ops->give(ops->arg, by, &none, NULL);
}

void needs_ask(struct needs *n, const struct needs_ops *ops, uint32_t by,
	       const struct zds_sockets *m)
{
	int r = needs_add(n, by, m);

	if (r == 0) {
		r = ops->send(ops->arg, m);
		if (r < 0) /* the newest: an older one like it is still to be answered */
			need_free(n, list_entry(n->list.prev, struct need, link));
	}
	if (r < 0)
		refuse(ops, by, m, r);
}

void needs_refuse(struct needs *n, const struct needs_ops *ops, int error)
{
	while (!list_is_empty(&n->list)) {
		struct need *need = list_entry(n->list.next, struct need, link);

		refuse(ops, need->by, &need->m, error);
		need_free(n, need);
	}
}

void needs_clear(struct needs *n)
{
	while (!list_is_empty(&n->list))
		need_free(n, list_entry(n->list.next, struct need, link));
}

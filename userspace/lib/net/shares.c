/* SPDX-License-Identifier: Apache-2.0 */
#include "net/shares.h"

#include <errno.h>
#include <stdlib.h>

#include "base/map.h"

struct shares {
	struct map *map; /* address -> struct share */
};

int shares_new(struct shares **ret)
{
	_cleanup_(shares_freep) struct shares *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = map_new(&s->map);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct shares *shares_free(struct shares *s)
{
	if (!s)
		return NULL;
	if (s->map)
		map_for_each (s->map, it)
			free(it.value);
	(void)map_free(s->map);
	free(s);
	return NULL;
}

struct share *shares_take(struct shares *s, const struct cv_addr *addr)
{
	void **at = map_at(s->map, addr, sizeof(*addr), NULL);
	struct share *share = at ? *at : NULL;

	if (at && !share) {
		share = calloc(1, sizeof(*share));
		if (!share) {
			(void)map_del(s->map, addr, sizeof(*addr));
			return NULL;
		}
		share->addr = *addr;
		*at = share;
	}
	if (share)
		share->n++;
	return share;
}

void shares_give_back(struct shares *s, struct share *share)
{
	if (--share->n > 0)
		return;
	(void)map_del(s->map, &share->addr, sizeof(share->addr));
	free(share);
}

size_t shares_of(const struct shares *s, const struct cv_addr *addr)
{
	const struct share *share = map_get(s->map, addr, sizeof(*addr));

	return share ? share->n : 0;
}

struct share *shares_most(const struct shares *s)
{
	struct share *most = NULL;

	map_for_each (s->map, it) {
		struct share *share = it.value;

		if (!most || share->n > most->n)
			most = share;
	}
	return most;
}

bool shares_must_yield(const struct share *most, size_t n)
{
	return most && most->n > n + 1;
}

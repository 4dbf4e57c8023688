/* SPDX-License-Identifier: Apache-2.0 */
#include "destmap.h"

#include <errno.h>
#include <stdlib.h>

#include "base/map.h"

struct destmap {
	const struct destmap_ops *ops;
	void *arg;
	struct map *missing; /* key -> struct cv_dest, owned */
	bool is_lost;        /* something is missing that is not in `missing` */
};

int destmap_new(const struct destmap_ops *ops, void *arg, struct destmap **ret)
{
	_cleanup_(destmap_freep) struct destmap *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->ops = ops;
	m->arg = arg;
	r = map_new(&m->missing);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

struct destmap *destmap_free(struct destmap *m)
{
	if (!m)
		return NULL;
	if (m->missing)
		map_for_each (m->missing, it)
			free(it.value);
	map_free(m->missing);
	free(m);
	return NULL;
}

static void missing_forget(struct destmap *m, const void *key)
{
	free(map_del(m->missing, key, m->ops->key_len));
}

static void missing_add(struct destmap *m, const void *key, const struct cv_dest *dest)
{
	struct cv_dest *copy = map_get(m->missing, key, m->ops->key_len);

	if (copy) {
		*copy = *dest;
		return;
	}
	copy = malloc(sizeof(*copy));
	if (copy)
		*copy = *dest;
	if (!copy || map_put(m->missing, key, m->ops->key_len, copy) < 0) {
		free(copy);
		m->is_lost = true;
	}
}

int destmap_put(struct destmap *m, const void *key, const struct cv_dest *dest)
{
	int r = m->ops->write(m->arg, key, dest);

	if (r < 0)
		missing_add(m, key, dest);
	else
		missing_forget(m, key);
	return r;
}

/* Return: false when an entry still finds no room. */
static bool retry_some(struct destmap *m, size_t limit)
{
	map_for_each (m->missing, it) {
		if (limit-- == 0)
			break;
		if (m->ops->write(m->arg, it.key, it.value) < 0)
			return false;
		missing_forget(m, it.key);
	}
	return true;
}

void destmap_del(struct destmap *m, const void *key)
{
	m->ops->erase(m->arg, key);
	missing_forget(m, key);
	(void)retry_some(m, 1);
}

void destmap_retry(struct destmap *m)
{
	(void)retry_some(m, map_count(m->missing));
}

bool destmap_is_complete(const struct destmap *m)
{
	return !m->is_lost && map_count(m->missing) == 0;
}

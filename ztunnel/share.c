/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/share.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/map.h"
#include "ztunnel/arena.h"

#define SWEEP_MIN 64

struct share {
	struct map *parts; /* key -> struct shared, counted */
	size_t sweep_at;   /* as many as there may be before the next sweep */
};

struct shared *shared_ref(struct shared *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct shared *shared_unref(struct shared *s)
{
	if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
		arena_free(s->arena);
	return NULL;
}

int share_new(struct share **ret)
{
	_cleanup_(share_freep) struct share *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->sweep_at = SWEEP_MIN;
	r = map_new(&t->parts);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

struct share *share_free(struct share *t)
{
	if (!t)
		return NULL;
	if (t->parts)
		map_for_each (t->parts, it)
			shared_unref(it.value);
	map_free(t->parts);
	free(t);
	return NULL;
}

/* The texts themselves are in the part already: 128 bits of a hash whose key nobody knows will do.
 */
struct digest {
	uint64_t halves[2];
};

/* Two hashes of all of it: with and without its first byte. */
static struct digest key_digest(const struct buf *key)
{
	const uint8_t *p = buf_head(key);
	size_t n = buf_len(key);

	return (struct digest){{map_hash(p, n), n ? map_hash(p + 1, n - 1) : 0}};
}

struct shared *share_find(const struct share *t, const struct buf *key)
{
	struct digest d = key_digest(key);

	return map_get(t->parts, &d, sizeof(d));
}

/* A reference can only come from the table, and only in this thread: one that is the last stays so.
 */
static void sweep(struct share *t)
{
	map_for_each (t->parts, it) {
		struct shared *s = it.value;

		if (atomic_load_explicit(&s->refs, memory_order_acquire) > 1)
			continue;
		(void)map_del(t->parts, it.key, it.key_len);
		shared_unref(s);
	}
	t->sweep_at = MAX(map_count(t->parts) * 2, (size_t)SWEEP_MIN);
}

int share_add(struct share *t, const struct buf *key, struct shared *s)
{
	struct digest d = key_digest(key);
	int r;

	if (map_count(t->parts) >= t->sweep_at)
		sweep(t);
	r = map_put(t->parts, &d, sizeof(d), s);
	if (r == 0)
		shared_ref(s);
	return r;
}

size_t share_count(const struct share *t)
{
	return map_count(t->parts);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "verdicts.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "map_keys.h"

enum zds_verdict_kind verdicts_find(const struct verdicts *v, const struct cv_verdict_key *key)
{
	struct cv_verdict found;

	if (bpf_map_lookup_elem(v->fd, key, &found) < 0 || found.generation != v->generation)
		return ZDS_VERDICT_NONE;
	if (found.is_ztunnels)
		return ZDS_VERDICT_ZTUNNELS;
	return found.is_allowed ? ZDS_VERDICT_ALLOW : ZDS_VERDICT_DENY;
}

static int write_one(const struct verdicts *v, const struct cv_verdict_key *key,
		     enum zds_verdict_kind kind)
{
	const struct cv_verdict value = {.generation = v->generation,
					 .is_allowed = kind == ZDS_VERDICT_ALLOW,
					 .is_ztunnels = kind == ZDS_VERDICT_ZTUNNELS};

	return bpf_map_update_elem(v->fd, key, &value, BPF_ANY);
}

static uintptr_t count_of(const struct map *counts, uint64_t src)
{
	return (uintptr_t)map_get(counts, &src, sizeof(src));
}

/* One that cannot be counted loses nothing. Return: how many verdicts its source has by now. */
static uintptr_t count_one(struct map *counts, uint64_t src)
{
	uintptr_t count = count_of(counts, src) + 1;

	return map_put(counts, &src, sizeof(src), (void *)count) < 0 ? 0 : count;
}

/* Return: were there any? @ret_most: of one source, of those that count. */
static bool old_delete(const struct verdicts *v, struct map *counts, uintptr_t *ret_most)
{
	struct cv_verdict_key key, next;
	bool is_any = false;
	uintptr_t count;

	map_keys_each (v->fd, key, next) {
		if (verdicts_find(v, &key) != ZDS_VERDICT_NONE) {
			count = count_one(counts, key.src_cookie);
			*ret_most = MAX(*ret_most, count);
		} else {
			is_any = bpf_map_delete_elem(v->fd, &key) == 0 || is_any;
		}
	}
	return is_any;
}

/* Half of the most, too: where many have as much a look frees as much. */
static void most_delete(const struct verdicts *v, const struct map *counts, uintptr_t most)
{
	struct cv_verdict_key key, next;

	map_keys_each (v->fd, key, next)
		if (count_of(counts, key.src_cookie) * 2 >= most)
			(void)bpf_map_delete_elem(v->fd, &key);
}

/* Return: 0: those that are over were enough; 1; -ENOMEM. */
static int room_make(const struct verdicts *v)
{
	_cleanup_(map_freep) struct map *counts = NULL;
	uintptr_t most = 0;
	int r = map_new(&counts);

	if (r < 0)
		return r;
	if (old_delete(v, counts, &most))
		return 0;
	most_delete(v, counts, most);
	return 1;
}

int verdicts_keep(struct verdicts *v, const struct cv_verdict_key *key, enum zds_verdict_kind kind,
		  uint64_t now_us)
{
	int r = write_one(v, key, kind), room;

	if (r != -E2BIG || (v->room_us && now_us - v->room_us < VERDICTS_ROOM_US))
		return r;
	room = room_make(v);
	v->room_us = now_us;
	r = write_one(v, key, kind);
	return r < 0 ? r : MAX(room, 0);
}

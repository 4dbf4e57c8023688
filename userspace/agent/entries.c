/* SPDX-License-Identifier: Apache-2.0 */
#include "entries.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

#define NO_ENTRY UINT32_MAX /* no flags */

/* What nobody wants any more and stays in its map. In the order of time, since all stay as long. */
struct lingering {
	struct list link;
	uint64_t end_us;
	enum dests_map map;
	const void *key; /* the map's own */
};

/* How many resources want an entry. Two workloads may share an address for a while (IP reuse), two
 * services a VIP or a range. */
struct entry {
	unsigned int holders; /* who may come to want it */
	unsigned int users;
	unsigned int mesh_users;     /* of them: those that make it a mesh destination */
	unsigned int ours_users;     /* of these: no way but ours leads there */
	unsigned int node_users;     /* of @users: nodes */
	struct lingering *lingering; /* NULL: somebody wants it */
};

struct entries {
	const struct dests_ops *ops;
	void *arg;
	struct map *maps[DESTS_MAP_MAX]; /* key -> struct entry */
	struct list lingering;
};

static bool is_plain_written(enum dests_map map)
{
	return map != DESTS_SERVICES;
}

static bool is_written(enum dests_map map, enum entries_claim claim)
{
	return claim != ENTRIES_PLAIN || is_plain_written(map);
}

/* Where kube-proxy, or a node, knows another way. */
static bool has_way_around(enum dests_map map)
{
	return map == DESTS_WORKLOADS || map == DESTS_SERVICES;
}

/* A range is none to what goes out in plaintext, whoever has it. */
static __u32 mesh_flags(enum dests_map map, bool is_ours)
{
	return is_ours && map == DESTS_SERVICES ? CV_DEST_MESH | CV_DEST_OURS : CV_DEST_MESH;
}

/* To a workload of the mesh it does not matter that a node has its address. */
static __u32 flags_of(enum dests_map map, const struct entry *e)
{
	if (e->mesh_users)
		return mesh_flags(map, e->ours_users == e->mesh_users);
	if (e->node_users)
		return CV_DEST_NODE;
	return e->users && is_plain_written(map) ? 0 : NO_ENTRY;
}

static __u32 flags_alone(enum dests_map map, enum entries_claim claim)
{
	if (claim == ENTRIES_NODE)
		return CV_DEST_NODE;
	return claim == ENTRIES_PLAIN ? 0 : mesh_flags(map, claim == ENTRIES_OURS);
}

static void tell(const struct entries *s, const struct entries_key *k, __u32 flags)
{
	struct cv_dest dest = {.flags = flags};

	(void)snprintf(dest.name, sizeof(dest.name), "%s%s",
		       flags & CV_DEST_GONE ? CV_DEST_GONE_NAME : "", k->label);
	s->ops->on_entry(s->arg, k->map, k->key, &dest);
}

static void lingering_end(struct entry *e)
{
	list_del(&e->lingering->link);
	free(e->lingering);
	e->lingering = NULL;
}

static int lingering_begin(struct entries *s, const struct entries_key *k, struct entry *e)
{
	struct lingering *l = calloc(1, sizeof(*l));
	const char *own = NULL;

	if (!l || !map_at(s->maps[k->map], k->key, dests_key_len(k->map), &own)) {
		free(l);
		return -ENOMEM;
	}
	l->end_us = now_monotonic_us() + ENTRIES_LINGER_US;
	l->map = k->map;
	l->key = own;
	list_add_tail(&s->lingering, &l->link);
	e->lingering = l;
	return 0;
}

static struct entry *entry_get(struct map *m, const void *key, size_t len)
{
	struct entry *e = map_get(m, key, len);

	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (e && map_put(m, key, len, e) == 0)
		return e;
	free(e);
	return NULL;
}

/* Unless somebody may want it yet. */
static void entry_forget(struct entries *s, enum dests_map map, const void *key)
{
	const struct entry *e = map_get(s->maps[map], key, dests_key_len(map));

	if (e && !e->holders && !e->users && !e->lingering)
		free(map_del(s->maps[map], key, dests_key_len(map)));
}

int entries_hold(struct entries *s, enum dests_map map, const void *key)
{
	struct entry *e = entry_get(s->maps[map], key, dests_key_len(map));

	if (!e)
		return -ENOMEM;
	e->holders++;
	return 0;
}

void entries_release(struct entries *s, enum dests_map map, const void *key)
{
	struct entry *e = map_get(s->maps[map], key, dests_key_len(map));

	if (e && e->holders)
		e->holders--;
	entry_forget(s, map, key);
}

static void count(struct entry *e, enum entries_claim claim, int by)
{
	e->users += (unsigned int)by;
	if (claim == ENTRIES_NODE)
		e->node_users += (unsigned int)by;
	else if (claim != ENTRIES_PLAIN)
		e->mesh_users += (unsigned int)by;
	if (claim == ENTRIES_OURS)
		e->ours_users += (unsigned int)by;
}

/* It changes nothing, and the entry keeps the name of who does. */
static bool is_weaker(enum entries_claim claim, const struct entry *e)
{
	if (claim == ENTRIES_NODE)
		return e->mesh_users;
	if (claim == ENTRIES_OURS)
		return e->ours_users < e->mesh_users;
	return claim == ENTRIES_PLAIN && e->mesh_users + e->node_users;
}

void entries_add(struct entries *s, const struct entries_key *k, enum entries_claim claim)
{
	struct entry *e = entry_get(s->maps[k->map], k->key, dests_key_len(k->map));
	bool is_silent = !is_written(k->map, claim);
	bool has_lingered = e && e->lingering;

	if (has_lingered)
		lingering_end(e);
	if (e)
		count(e, claim, 1);
	if (is_silent && has_lingered)
		s->ops->on_gone(s->arg, k->map, k->key);
	if (!is_silent && (!e || !is_weaker(claim, e)))
		tell(s, k, e ? flags_of(k->map, e) : flags_alone(k->map, claim));
}

/* Nobody wants it any more, and this is what its last user made of it. */
static void end_of_last(struct entries *s, const struct entries_key *k, struct entry *e,
			enum entries_claim claim)
{
	bool may_linger = claim == ENTRIES_MESH && has_way_around(k->map);

	if (may_linger && lingering_begin(s, k, e) == 0) {
		tell(s, k, CV_DEST_MESH | CV_DEST_GONE);
		return;
	}
	entry_forget(s, k->map, k->key);
	if (is_written(k->map, claim))
		s->ops->on_gone(s->arg, k->map, k->key);
}

void entries_drop(struct entries *s, const struct entries_key *k, enum entries_claim claim)
{
	struct entry *e = map_get(s->maps[k->map], k->key, dests_key_len(k->map));
	__u32 before, after;

	if (!e && is_written(k->map, claim))
		s->ops->on_gone(s->arg, k->map, k->key); /* and not counted */
	if (!e || e->users == 0)
		return;
	before = flags_of(k->map, e);
	count(e, claim, -1);
	after = flags_of(k->map, e);
	if (e->users == 0)
		end_of_last(s, k, e, claim);
	else if (before != after && after == NO_ENTRY)
		s->ops->on_gone(s->arg, k->map, k->key);
	else if (before != after) {
		/* whose it is now nobody has kept */
		const struct entries_key now = {k->map, k->key, after ? k->label : ""};

		tell(s, &now, after);
	}
}

bool entries_has(const struct entries *s, enum dests_map map, const void *key)
{
	const struct entry *e = map_get(s->maps[map], key, dests_key_len(map));

	return e && (e->lingering || flags_of(map, e) != NO_ENTRY);
}

bool entries_is_mesh(const struct entries *s, enum dests_map map, const void *key)
{
	const struct entry *e = map_get(s->maps[map], key, dests_key_len(map));

	return e && e->mesh_users;
}

static struct lingering *first_of(const struct entries *s)
{
	return list_is_empty(&s->lingering) ? NULL
					    : list_entry(s->lingering.next, struct lingering, link);
}

uint64_t entries_next_end(const struct entries *s)
{
	const struct lingering *l = first_of(s);

	return l ? l->end_us : 0;
}

void entries_end(struct entries *s, uint64_t now_us, size_t limit)
{
	for (; limit > 0; limit--) {
		struct lingering *l = first_of(s);
		struct entry *e;

		if (!l || l->end_us > now_us)
			return;
		e = map_get(s->maps[l->map], l->key, dests_key_len(l->map));
		list_del(&l->link);
		e->lingering = NULL;
		s->ops->on_gone(s->arg, l->map, l->key);
		entry_forget(s, l->map, l->key);
		free(l);
	}
}

int entries_new(const struct dests_ops *ops, void *arg, struct entries **ret)
{
	_cleanup_(entries_freep) struct entries *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->ops = ops;
	s->arg = arg;
	list_init(&s->lingering);
	for (int i = 0; i < DESTS_MAP_MAX && r == 0; i++)
		r = map_new(&s->maps[i]);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct entries *entries_free(struct entries *s)
{
	if (!s)
		return NULL;
	for (int i = 0; i < DESTS_MAP_MAX; i++) {
		if (s->maps[i])
			map_for_each (s->maps[i], it) {
				struct entry *e = it.value;

				free(e->lingering);
				free(e);
			}
		map_free(s->maps[i]);
	}
	free(s);
	return NULL;
}

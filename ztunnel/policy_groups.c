/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/policy_groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "ztunnel/policy.h"
#include "ztunnel/state.h"

#define KEY_MAX (64u * 1024 * 1024)

/* A list of policies and what it comes to. */
struct group {
	uint32_t id;
	size_t workloads; /* that name this list */
	struct policy_set *set;
	size_t missing;
	size_t key_len;
	char key[]; /* the names, each with its NUL */
};

/* Who names a policy. */
struct naming {
	size_t count, cap;
	struct group *groups[];
};

struct policy_groups {
	struct hamt *table;
	const struct hamt *policies;
	struct map *by_list; /* key -> struct group */
	struct map *by_id;   /* uint32_t -> struct group */
	struct map *by_name; /* policy -> struct naming */
	size_t missing;
	uint32_t last_id;
	struct buf key; /* of the look-up that runs */
};

#define for_each_name(group, name)                                                                 \
	for (const char *name = (group)->key; name < (group)->key + (group)->key_len;              \
	     name += strlen(name) + 1)

static void *value_ref(void *value)
{
	struct policy_group *v = value;

	atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	return v;
}

static void value_unref(void *value)
{
	struct policy_group *v = value;

	if (atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
		return;
	policy_set_unref(v->set);
	free(v);
}

const struct hamt_ops policy_group_hamt_ops = {.ref = value_ref, .unref = value_unref};

/* What the next snapshot is to show. */
static int group_publish(struct policy_groups *g, const struct group *group)
{
	struct policy_group *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	atomic_init(&v->refs, 1);
	v->set = group->set ? policy_set_ref(group->set) : NULL;
	v->missing = group->missing;
	r = hamt_put(g->table, &group->id, sizeof(group->id), v);
	value_unref(v);
	return r;
}

static int group_change(struct group *group, const struct policy *gone, struct policy *added)
{
	struct policy_set *s = NULL;
	int r = policy_set_change(group->set, gone, added, &s);

	if (r < 0)
		return r;
	policy_set_unref(group->set);
	group->set = s;
	return 0;
}

static bool is_named_by_last(const struct policy_groups *g, const char *name,
			     const struct group *group)
{
	const struct naming *n = map_get_str(g->by_name, name);

	return n && n->groups[n->count - 1] == group;
}

/* A name that is listed twice counts once: while a group registers it is the last of each. */
static int name_add(struct policy_groups *g, const char *name, struct group *group)
{
	bool is_there = hamt_get_str(g->policies, name);
	struct naming *n = map_get_str(g->by_name, name);
	bool is_new = !n;
	int r;

	if (is_named_by_last(g, name, group))
		return 0;
	if (!n || n->count == n->cap) {
		size_t cap = n ? n->cap * 2 : 1;
		struct naming *grown = realloc(n, sizeof(*n) + cap * sizeof(n->groups[0]));

		if (!grown)
			return -ENOMEM;
		if (is_new)
			grown->count = 0;
		grown->cap = cap;
		r = map_put_str(g->by_name, name, grown);
		if (r < 0) {
			/* replacing needs no memory: it was new */
			free(grown);
			return r;
		}
		n = grown;
	}
	n->groups[n->count++] = group;
	group->missing += !is_there;
	g->missing += is_new && !is_there;
	return 0;
}

static void name_del(struct policy_groups *g, const char *name, const struct group *group)
{
	struct naming *n = map_get_str(g->by_name, name);

	for (size_t i = 0; n && i < n->count; i++) {
		if (n->groups[i] != group)
			continue;
		memmove(&n->groups[i], &n->groups[i + 1], (--n->count - i) * sizeof(n->groups[0]));
		break;
	}
	if (!n || n->count > 0)
		return;
	free(map_del_str(g->by_name, name));
	if (!hamt_get_str(g->policies, name))
		g->missing--;
}

static void group_free(struct policy_groups *g, struct group *group)
{
	for_each_name(group, name) name_del(g, name, group);
	if (map_get(g->by_list, group->key, group->key_len) == group)
		(void)map_del(g->by_list, group->key, group->key_len);
	(void)map_del(g->by_id, &group->id, sizeof(group->id));
	(void)hamt_del(g->table, &group->id, sizeof(group->id));
	policy_set_unref(group->set);
	free(group);
}

/* From the set of @like, which has most of it, to that of @group, whose names are registered. */
static int group_fill(struct policy_groups *g, struct group *group, const struct group *like)
{
	int r = 0;

	if (like && like->set) {
		group->set = policy_set_ref(like->set);
		for_each_name(like, name)
		{
			const struct policy *p = hamt_get_str(g->policies, name);

			if (r == 0 && p && !is_named_by_last(g, name, group))
				r = group_change(group, p, NULL);
		}
	}
	for_each_name(group, name)
	{
		struct policy *p = hamt_get_str(g->policies, name);

		if (r == 0 && p && !policy_set_has(group->set, name))
			r = group_change(group, NULL, p);
	}
	return r;
}

static int group_new(struct policy_groups *g, const struct group *like, struct group **ret)
{
	size_t len = buf_len(&g->key);
	struct group *group = calloc(1, sizeof(*group) + len);
	int r;

	if (!group)
		return -ENOMEM;
	memcpy(group->key, buf_head(&g->key), len);
	/* zero means none, and no id is used twice while somebody has it */
	do
		group->id = ++g->last_id;
	while (group->id == 0 || map_get(g->by_id, &group->id, sizeof(group->id)));
	r = map_put(g->by_list, group->key, len, group);
	if (r == 0)
		r = map_put(g->by_id, &group->id, sizeof(group->id), group);
	for (size_t at = 0; r == 0 && at < len; at = group->key_len) {
		r = name_add(g, group->key + at, group);
		/* as far as it is registered, so that group_free() takes back that much */
		group->key_len = at + strlen(group->key + at) + 1;
	}
	if (r == 0)
		r = group_fill(g, group, like);
	if (r == 0)
		r = group_publish(g, group);
	if (r < 0) {
		(void)map_del(g->by_list, group->key, len);
		group_free(g, group);
		return r;
	}
	*ret = group;
	return 0;
}

int policy_groups_enter(struct policy_groups *g, const struct workload *w, uint32_t like,
			uint32_t *ret)
{
	struct group *group;
	int r = 0;

	*ret = 0;
	if (w->app->policies_count == 0)
		return 0;
	g->key.start = 0;
	g->key.end = 0;
	for (size_t i = 0; i < w->app->policies_count && r == 0; i++)
		r = buf_append(&g->key, w->app->policies[i], strlen(w->app->policies[i]) + 1);
	if (r < 0)
		return r;
	group = map_get(g->by_list, buf_head(&g->key), buf_len(&g->key));
	if (!group)
		r = group_new(g, like ? map_get(g->by_id, &like, sizeof(like)) : NULL, &group);
	if (r < 0)
		return r;
	group->workloads++;
	*ret = group->id;
	return 0;
}

void policy_groups_leave(struct policy_groups *g, uint32_t id)
{
	struct group *group = id ? map_get(g->by_id, &id, sizeof(id)) : NULL;

	if (group && --group->workloads == 0)
		group_free(g, group);
}

int policy_groups_change(struct policy_groups *g, const char *name, const struct policy *gone,
			 struct policy *added)
{
	struct naming *n = map_get_str(g->by_name, name);
	int r = 0;

	for (size_t i = 0; n && i < n->count && r == 0; i++) {
		r = group_change(n->groups[i], gone, added);
		if (r < 0)
			return r;
		n->groups[i]->missing += (size_t)!added - (size_t)!gone;
		r = group_publish(g, n->groups[i]);
	}
	if (n)
		g->missing += (size_t)!added - (size_t)!gone;
	return r;
}

size_t policy_groups_missing(const struct policy_groups *g)
{
	return g->missing;
}

int policy_groups_new(struct hamt *table, const struct hamt *policies, struct policy_groups **ret)
{
	_cleanup_(policy_groups_freep) struct policy_groups *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->table = table;
	g->policies = policies;
	g->key.limit = KEY_MAX;
	r = map_new(&g->by_list);
	if (r == 0)
		r = map_new(&g->by_id);
	if (r == 0)
		r = map_new(&g->by_name);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(g);
	return 0;
}

struct policy_groups *policy_groups_free(struct policy_groups *g)
{
	if (!g)
		return NULL;
	if (g->by_id)
		map_for_each (g->by_id, it) {
			policy_set_unref(((struct group *)it.value)->set);
			free(it.value);
		}
	if (g->by_name)
		map_for_each (g->by_name, it)
			free(it.value);
	map_free(g->by_list);
	map_free(g->by_id);
	map_free(g->by_name);
	buf_reset(&g->key);
	free(g);
	return NULL;
}

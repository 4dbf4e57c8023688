/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/direct_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

struct key {
	uint64_t src_cookie;
	struct cv_sockaddr src, dst;
};

struct entry {
	struct zds_direct last;
	uint64_t seen_us;
};

struct direct_table {
	struct map *entries; /* struct key -> struct entry */
};

static struct key key_of(const struct zds_direct *m)
{
	struct key k;

	memset(&k, 0, sizeof(k)); /* padding too */
	k.src_cookie = m->src_cookie;
	k.src = m->src;
	k.dst = m->dst;
	return k;
}

int direct_table_new(struct direct_table **ret)
{
	_cleanup_(direct_table_freep) struct direct_table *t = calloc(1, sizeof(*t));
	int r = t ? map_new(&t->entries) : -ENOMEM;

	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

struct direct_table *direct_table_free(struct direct_table *t)
{
	if (!t)
		return NULL;
	if (t->entries)
		map_for_each (t->entries, it)
			free(it.value);
	map_free(t->entries);
	free(t);
	return NULL;
}

static void sweep(struct direct_table *t, uint64_t now_us)
{
	map_for_each (t->entries, it) {
		struct entry *e = it.value;

		if (e->seen_us + DIRECT_TABLE_IDLE_US >= now_us)
			continue;
		(void)map_del(t->entries, it.key, it.key_len);
		free(e);
	}
}

static struct entry *entry_new(struct direct_table *t, const struct zds_direct *m, uint64_t now_us)
{
	struct key k = key_of(m);
	struct entry *e;

	if (map_count(t->entries) >= DIRECT_TABLE_MAX)
		sweep(t, now_us);
	if (map_count(t->entries) >= DIRECT_TABLE_MAX)
		return NULL;
	e = calloc(1, sizeof(*e));
	if (e && map_put(t->entries, &k, sizeof(k), e) < 0) {
		free(e);
		return NULL;
	}
	return e;
}

/* Counters of one connection only grow; what says otherwise is another one of the same addresses.
 */
static uint64_t growth(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

void direct_table_note(struct direct_table *t, const struct zds_direct *m, uint64_t now_us,
		       uint64_t *ret_sent, uint64_t *ret_received)
{
	struct key k = key_of(m);
	struct entry *e = map_get(t->entries, &k, sizeof(k));
	bool is_known = e && e->last.opened_us == m->opened_us;

	*ret_sent = is_known ? growth(m->sent, e->last.sent) : 0;
	*ret_received = is_known ? growth(m->received, e->last.received) : 0;
	if (m->what == ZDS_DIRECT_CLOSED || m->what == ZDS_DIRECT_FAILED) {
		if (!is_known) {
			*ret_sent = m->sent;
			*ret_received = m->received;
		}
		free(map_del(t->entries, &k, sizeof(k)));
		return;
	}
	if (!e)
		e = entry_new(t, m, now_us);
	if (!e)
		return;
	e->last = *m;
	e->seen_us = now_us;
}

void direct_table_each(const struct direct_table *t, uint64_t now_us,
		       void (*fn)(void *arg, const struct zds_direct *m), void *arg)
{
	map_for_each (t->entries, it) {
		const struct entry *e = it.value;

		if (e->seen_us + DIRECT_TABLE_IDLE_US >= now_us)
			fn(arg, &e->last);
	}
}

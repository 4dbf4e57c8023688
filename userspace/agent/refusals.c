/* SPDX-License-Identifier: Apache-2.0 */
#include "refusals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

/* What makes two of them the same kind. Every byte counts. */
struct key {
	struct cv_addr src;
	struct cv_sockaddr dst;
	uint32_t reason;
	uint32_t place;
	char src_name[CV_NAME_LEN];
	char dst_name[CV_NAME_LEN];
};

struct kind {
	struct list link;
	struct recall recall;
};

struct refusals {
	struct map *by_key;
	struct list kinds; /* quiet for longest first */
	uint64_t start_us, since_us;
	uint64_t counted; /* at the start */
	uint64_t told;    /* since then */
};

/* is_told() - is each of this reason an event? */
static bool is_told(uint32_t reason)
{
	static const char *const names[CV_REASON_MAX] = {
#define CV_REASON(name, label, sentence) [CV_##name] = #name,
		CV_REASON_LIST(CV_REASON)
#undef CV_REASON
	};

	return str_has_prefix(names[reason], "DROP_") || str_has_prefix(names[reason], "GUARD_");
}

static uint64_t sum(const uint64_t counters[CV_REASON_MAX])
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < CV_REASON_MAX; i++)
		n += is_told(i) ? counters[i] : 0;
	return n;
}

static struct key key_of(const struct recall *r)
{
	struct key k;

	memset(&k, 0, sizeof(k));
	k.src = r->src.addr;
	k.dst = r->dst;
	k.reason = r->reason;
	k.place = r->place;
	(void)str_copy(k.src_name, sizeof(k.src_name), r->src_name);
	(void)str_copy(k.dst_name, sizeof(k.dst_name), r->dst_name);
	return k;
}

int refusals_new(const uint64_t counters[CV_REASON_MAX], uint64_t now_us, struct refusals **ret)
{
	_cleanup_(refusals_freep) struct refusals *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	list_init(&r->kinds);
	r->counted = sum(counters);
	r->start_us = r->since_us = now_us;
	if (map_new(&r->by_key) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(r);
	return 0;
}

struct refusals *refusals_free(struct refusals *r)
{
	struct kind *k, *next;

	if (!r)
		return NULL;
	list_for_each_entry_safe (k, next, &r->kinds, link)
		free(k);
	map_free(r->by_key);
	free(r);
	return NULL;
}

static void forget_oldest(struct refusals *r)
{
	struct kind *k = list_entry(r->kinds.next, struct kind, link);
	struct key key = key_of(&k->recall);

	r->since_us = MAX(r->since_us, k->recall.last_us);
	(void)map_del(r->by_key, &key, sizeof(key));
	list_del(&k->link);
	free(k);
}

static struct kind *kind_new(struct refusals *r, const struct recall *one, const struct key *key)
{
	struct kind *k = calloc(1, sizeof(*k));

	if (map_count(r->by_key) >= REFUSALS_MAX)
		forget_oldest(r);
	if (!k || map_put(r->by_key, key, sizeof(*key), k) < 0) {
		r->since_us = MAX(r->since_us, one->last_us);
		free(k);
		return NULL;
	}
	k->recall.first_us = one->last_us;
	list_init(&k->link);
	return k;
}

void refusals_add(struct refusals *r, const struct recall *one)
{
	struct key key = key_of(one);
	struct kind *k = map_get(r->by_key, &key, sizeof(key));
	uint64_t first, count;

	/* the ring may hold some of before */
	r->told += is_told(one->reason) && one->last_us >= r->start_us;
	if (!k)
		k = kind_new(r, one, &key);
	if (!k)
		return;
	first = k->recall.first_us;
	count = k->recall.count;
	k->recall = *one;
	k->recall.first_us = first;
	k->recall.count = count + 1;
	list_del(&k->link);
	list_add_tail(&r->kinds, &k->link);
}

uint64_t refusals_lost(const struct refusals *r, const uint64_t counters[CV_REASON_MAX])
{
	uint64_t counted = sum(counters) - r->counted;

	return counted > r->told ? counted - r->told : 0;
}

int refusals_to_json(const struct refusals *r, json_t *into, uint64_t *ret_since_us)
{
	const struct kind *k;

	list_for_each_entry (k, &r->kinds, link)
		if (recall_to_json(&k->recall, into) < 0)
			return -ENOMEM;
	*ret_since_us = r->since_us;
	return 0;
}
